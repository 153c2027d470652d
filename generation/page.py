"""A generator on a page for the browser: words in, a sound with its spectrogram and CLAP scores out.

    page = make_page(Studio(generator, scorer))     # Gradio's Blocks; pipeline/page_server.py serves it

Knows no model: any generation.generator.Generator stands behind it. It is loaded once; one prompt is made at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from generation.errors import GenerationError
from generation.generator import Generator, Prompt, Settings
from generation.prompts import cleaned
from generation.rerank import best, clap_scores
from generation.spectrogram import figure
from scorer.load import Scorer

LONGEST_PROMPT = 5000
MOST_CANDIDATES = 8
GUIDANCE = (0.0, 15.0)


@dataclass(frozen=True)
class Studio:
    """What the page asks; `settings` is where its controls stand at first."""

    generator: Generator
    scorer: Scorer | None = None
    settings: Settings = field(default_factory=Settings)
    candidates: int = 1


@dataclass(frozen=True)
class Heard:
    """What is shown of one request; no wave, and `note` says why, where it failed."""

    wave: np.ndarray | None
    scores: tuple[float, ...]
    chosen: int
    note: str


def make(
    studio: Studio,
    given: tuple[str, float, float, float, float],
    on_progress: Callable[[float], None] | None = None,
) -> Heard:
    """The best of a prompt's candidates. `given`: prompt, seed, guidance, steps, candidates.

    What cannot be made is told, not raised.
    """
    text, seed, guidance, steps, candidates = given
    text = " ".join(cleaned(text or "").split())
    if not text:
        return Heard(None, (), 0, "say what shall be heard")
    if len(text) > LONGEST_PROMPT:
        return Heard(None, (), 0, f"a prompt has up to {LONGEST_PROMPT} characters, not {len(text)}")
    generator, scorer = studio.generator, studio.scorer
    try:
        settings = replace(
            studio.settings, seed=int(seed or 0), guidance=_between(guidance, *GUIDANCE), steps=int(steps)
        )
        count = int(_between(candidates, 1, MOST_CANDIDATES)) if scorer is not None else 1
        waves = generator.generate([Prompt(text, draw) for draw in range(count)], settings, on_progress)
    except (GenerationError, TypeError, ValueError, OverflowError) as error:
        return Heard(None, (), 0, str(error))
    scores = clap_scores(scorer, text, waves, generator.sample_rate_hz) if scorer is not None else []
    chosen = best(scores) if scores else 0
    length_s = waves.shape[1] / generator.sample_rate_hz
    return Heard(
        waves[chosen], tuple(scores), chosen, f"{length_s:.2f} s, draw {chosen + 1} of {count}, seed {int(seed or 0)}"
    )


def make_page(studio: Studio) -> Any:
    """Gradio's Blocks."""
    import gradio

    settings, generator = studio.settings, studio.generator
    with gradio.Blocks(analytics_enabled=False, title="AutoReCap: sounds", delete_cache=(3600, 3600)) as page:
        gradio.Markdown("# Sounds from words")
        with gradio.Row():
            with gradio.Column():
                prompt = gradio.Textbox(label="Prompt", elem_id="prompt", max_length=LONGEST_PROMPT, lines=2)
                seed = gradio.Number(value=settings.seed, precision=0, label="Seed", elem_id="seed")
                guidance = gradio.Slider(*GUIDANCE, value=settings.guidance, step=0.5, label="Guidance")
                guidance.elem_id = "guidance"
                steps = gradio.Slider(1, 1000, value=settings.steps, step=1, label="Steps", elem_id="steps")
                candidates = gradio.Slider(
                    1, MOST_CANDIDATES, value=studio.candidates, step=1, label="Candidates", elem_id="candidates",
                    visible=studio.scorer is not None,
                )  # fmt: skip
                button = gradio.Button("Generate", variant="primary", elem_id="run")
            with gradio.Column():
                sound = gradio.Audio(
                    type="numpy", format="wav", label="Sound", interactive=False, elem_id="sound", buttons=["download"]
                )
                picture = gradio.Image(type="numpy", label="Spectrogram", interactive=False, elem_id="picture")
                scores = gradio.Textbox(label="CLAP scores", elem_id="scores", interactive=False)
                note = gradio.Textbox(label="Made", elem_id="note", interactive=False)
                model = gradio.Textbox(label="Model", interactive=False, elem_id="model")
                model.value = f"{generator.model_id}@{generator.weights_sha256[:12]}"

        bar = gradio.Progress()

        # Gradio knows its bar by the default value.
        def on_click(
            text: str, seed: float, guidance: float, steps: float, candidates: float, bar: Any = bar
        ) -> tuple[Any, ...]:
            given = (text, seed, guidance, steps, candidates)
            heard = make(studio, given, lambda share: bar(share, desc="steps"))
            return (*_shown(heard, generator.sample_rate_hz, text), heard.note)

        button.click(
            on_click,
            inputs=[prompt, seed, guidance, steps, candidates],
            outputs=[sound, picture, scores, note],
            api_visibility="private",
            concurrency_limit=1,
        )
    return page


def _shown(heard: Heard, sample_rate_hz: int, title: str) -> tuple[Any, Any, str]:
    """Sound, picture and scores as Gradio takes them."""
    if heard.wave is None:
        return None, None, ""
    told = ", ".join(f"{score:.3f}{'*' if at == heard.chosen else ''}" for at, score in enumerate(heard.scores))
    pcm = np.round(np.clip(heard.wave, -1, 1) * 32767).astype(np.int16)
    return (sample_rate_hz, pcm), _pixels(heard.wave, sample_rate_hz, title), told


def _pixels(wave: np.ndarray, sample_rate_hz: int, title: str) -> np.ndarray:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(figure(wave, sample_rate_hz, " ".join(title.split())))
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def _between(value: float, least: float, most: float) -> float:
    return min(max(float(value), least), most)
