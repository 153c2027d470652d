"""Texts to sounds: prompts are embedded, noise becomes latents step by step, these a mel, and that a wave.

    generator = load_generator("models/rain")                   # genau/load.py
    waves = generator.generate([Prompt("rain on a roof")], Settings(steps=50))

With and without the prompt goes through in one pass. No condition is ever dropped here, and the noise of a clip comes
from its own generator on the CPU: a clip is the same on any device and in any batch, up to rounding.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from genau.card import GenauCard
from genau.codec import Codec
from genau.ddim import Denoise, ddim, ddim_steps, ddim_times, reference_times
from genau.diffusion import seed_of, start_noise
from genau.dpm import dpm
from genau.fit import Fit
from genau.mel import HOP, SAMPLE_RATE_HZ
from generation.conditioners.base import Conditioner
from generation.conditioners.datasets import DatasetIds
from generation.errors import GenerationError
from generation.generator import OnProgress, Prompt, Settings, seed_of_draw
from generation.waves import peaked

log = logging.getLogger(__name__)

Precision = Literal["float32", "bfloat16"]

CPU_CLIPS, GPU_CLIPS = 4, 32
#: What PyTorch says on a CPU; on a GPU there is an exception of its own.
NO_MEMORY = ("can't allocate memory", "not enough memory")


@dataclass(frozen=True)
class Parts:
    """What a generator is put together of."""

    card: GenauCard
    fit: Fit
    codec: Codec
    conditioner: Conditioner
    about: Mapping[str, str]


class GenauGenerator:
    """See generation.generator.Generator. `dataset`: in whose manner; None: none of the corpora."""

    sample_rate_hz = SAMPLE_RATE_HZ

    def __init__(
        self,
        parts: Parts,
        *,
        device: str = "cpu",
        precision: Precision = "float32",
        dataset: str | None = None,
        clips_at_once: int | None = None,
    ) -> None:
        card = parts.card
        self.model_id, self.weights_sha256, self.card = card.model_id, card.weights_sha256, card
        self.about: Mapping[str, str] = {**parts.about, "dataset": dataset or "", "precision": precision}
        self.device, self.precision = torch.device(device), precision
        self.clips_at_once = clips_at_once or (CPU_CLIPS if self.device.type == "cpu" else GPU_CLIPS)
        self.schedule = card.schedule.make()
        self.fit, self.codec = parts.fit.to(self.device), parts.codec.to(self.device)
        self.conditioner = parts.conditioner
        datasets = DatasetIds(card.datasets, card.shape.datasets, card.unconditional)
        self._manner = datasets.one_hot(datasets.of([dataset, None])).to(self.device)
        self._nothing = torch.from_numpy(self.conditioner.embed([""])).to(self.device)
        self._samples = card.shape.steps * self.codec.shape.shortens * HOP
        self.longest_s = self._samples / SAMPLE_RATE_HZ

    @torch.inference_mode()
    def generate(
        self, prompts: Sequence[Prompt], settings: Settings, on_progress: OnProgress | None = None
    ) -> np.ndarray:
        """(N, samples) float32 with a peak of 0.8; silence stays silence. GenerationError."""
        samples = self._check(prompts, settings)
        waves = np.zeros((len(prompts), samples), dtype=np.float32)
        if not prompts:
            return waves
        said = self._embed([prompt.text for prompt in prompts])
        at = 0
        while at < len(prompts):
            chunk = slice(at, at + self.clips_at_once)
            progress = Progress(at / len(prompts), len(prompts[chunk]) / len(prompts), on_progress)
            made = self._tried(prompts[chunk], said[chunk], settings, progress)
            if made is None:
                self._halve(len(prompts[chunk]))
                continue
            waves[chunk] = np.stack([peaked(self._finite(wave)) for wave in made[:, :samples]])
            at = chunk.stop
        return waves

    def _check(self, prompts: Sequence[Prompt], settings: Settings) -> int:
        """How many samples each will have. GenerationError, before anything is computed."""
        duration_s = self.longest_s if settings.duration_s is None else settings.duration_s
        if not 0 < duration_s <= self.longest_s:
            raise GenerationError(
                f"{self.model_id} makes clips of up to {self.longest_s:g} s, not of {duration_s:g} s: its latents have "
                f"places for no more. Ask for {self.longest_s:g} s or less"
            )
        if not np.isfinite(settings.guidance) or not 0 <= settings.eta <= 1:
            raise GenerationError("guidance must be a finite number, and eta from 0 to 1")
        if settings.seeds == "name" and not all(prompt.name for prompt in prompts):
            raise GenerationError("seeds by name: each prompt needs the name of its file")
        try:
            self._times(settings)
        except ValueError as error:
            raise GenerationError(str(error)) from error
        return max(round(duration_s * SAMPLE_RATE_HZ), 1)

    def _times(self, settings: Settings) -> list[int]:
        if settings.solver == "dpm":
            if not 1 <= settings.steps < self.schedule.steps:
                raise ValueError(f"DPM-Solver++ takes 1 to {self.schedule.steps - 1} steps, not {settings.steps}")
            return []
        if settings.reference_steps and 1 <= settings.steps <= self.schedule.steps:
            return reference_times(settings.steps, self.schedule.steps)
        return ddim_times(settings.steps, self.schedule.steps)

    def _embed(self, texts: Sequence[str]) -> torch.Tensor:
        """(N, E); a text that is there several times is embedded once."""
        once = list(dict.fromkeys(texts))
        rows = {text: row for row, text in enumerate(once)}
        return torch.from_numpy(self.conditioner.embed(once))[[rows[text] for text in texts]]

    def _tried(
        self, prompts: Sequence[Prompt], said_BE: torch.Tensor, settings: Settings, progress: Progress
    ) -> np.ndarray | None:
        """Waves, or None where memory does not suffice."""
        try:
            waves: np.ndarray = self._waves(prompts, said_BE.to(self.device), settings, progress).float().cpu().numpy()
        except torch.OutOfMemoryError:
            return None
        except RuntimeError as error:
            if any(words in str(error) for words in NO_MEMORY):
                return None
            raise
        return waves

    def _halve(self, clips: int) -> None:
        """Called when no tensor of the try is held any more."""
        if clips == 1:
            raise GenerationError(f"memory on {self.device} does not suffice for a single clip of {self.model_id}")
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self.clips_at_once = (clips + 1) // 2
        log.warning("memory does not suffice for %d clips at once: going on with %d", clips, self.clips_at_once)

    def _waves(
        self, prompts: Sequence[Prompt], said_BE: torch.Tensor, settings: Settings, progress: Progress
    ) -> torch.Tensor:
        draws = [torch.Generator().manual_seed(seed_of_draw(settings.seed, prompt)) for prompt in prompts]
        start = self._start(prompts, draws, settings)
        denoise = self.denoiser(said_BE, settings)
        if settings.solver == "dpm":
            tell = progress.of(settings.steps)
            latents = dpm(denoise, self.schedule, start, settings.steps, on_step=tell)
        else:
            steps = ddim_steps(self.schedule, self._times(settings))
            tell = progress.of(len(steps))
            fresh = self._fresh(draws, start.shape[1:])
            latents = ddim(denoise, start, steps, eta=settings.eta, noises=fresh, on_step=lambda *_: tell())
        return self.codec.to_wave(latents / self.card.scale_factor)

    def _start(self, prompts: Sequence[Prompt], draws: Sequence[torch.Generator], settings: Settings) -> torch.Tensor:
        size = (self.card.shape.channels, self.card.shape.steps)
        if settings.seeds == "name":
            drawn = [start_noise(seed_of(prompt.name), prompt.draw + 1, size)[-1] for prompt in prompts]
        else:
            drawn = [torch.randn(size, generator=draw) for draw in draws]
        return torch.stack(drawn).to(self.device)

    def _fresh(self, draws: Sequence[torch.Generator], size: Sequence[int]) -> Iterator[torch.Tensor]:
        while True:
            yield torch.stack([torch.randn(tuple(size), generator=draw) for draw in draws]).to(self.device)

    def denoiser(self, said_BE: torch.Tensor, settings: Settings) -> Denoise:
        """What a solver asks: the noise in (B, C, T), guided, and the latent tokens to hand over (None: none)."""
        count, guided = len(said_BE), settings.guidance != 1
        rows = [0] * count + [1] * count * guided
        manner = self._manner[rows]
        text = torch.cat([said_BE, self._nothing.expand(count, -1)]) if guided else said_BE
        times = 2 if guided else 1
        hands_over = self.card.self_conditioning if settings.self_conditioning is None else settings.self_conditioning

        def denoise(x_BCT: torch.Tensor, t_B: torch.Tensor, latents: Any) -> tuple[torch.Tensor, Any]:
            handed = None if latents is None else latents.repeat(times, 1, 1)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
                said, after = self.fit(x_BCT.repeat(times, 1, 1), t_B.repeat(times), text, manner, handed)
            said = said.float()
            if guided:
                with_it, without = said.chunk(2)
                said = without + settings.guidance * (with_it - without)
            noise = self.schedule.noise_told(self.card.prediction, said, x_BCT, t_B)
            return noise, after[:count] if hands_over else None

        return denoise

    def _finite(self, wave: np.ndarray) -> np.ndarray:
        if not np.isfinite(wave).all():
            raise GenerationError(
                f"{self.model_id} made numbers that are not finite: damaged weights, a scale factor that is not its "
                "VAE's, or too much guidance"
            )
        return wave


class Progress:
    """Steps of one batch as a share of the whole call."""

    def __init__(self, begun: float, share: float, told: OnProgress | None) -> None:
        self._begun, self._share, self._told, self._steps = begun, share, told, 0

    def of(self, steps: int) -> Any:
        def step() -> None:
            self._steps += 1
            if self._told is not None:
                self._told(min(self._begun + self._share * self._steps / steps, 1.0))

        return step
