"""A captioner and the CLAP that scores what it says, together: what `caption` and the page ask.

teller = open_teller()
[(said, score, _)] = teller.tell([{16_000: wave}], [Metadata(title="My dog at the lake")])
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipeline.scorers import ModelError

if TYPE_CHECKING:
    from captioner.load import Captioned, Captioner, CaptionerOptions, Metadata
    from scorer.load import Scorer

#: One stretch of sound as float32 mono waves, by sample rate: what captions it and what scores it may want two.
Waves = Mapping[int, np.ndarray]

CPU_CLIPS, GPU_CLIPS = 8, 64


class Said(NamedTuple):
    """A caption, its CLAP score and the sound's embedding; neither where nothing scores."""

    said: Captioned
    score: float | None
    vector: np.ndarray | None


@dataclass(frozen=True)
class Teller:
    captioner: Captioner
    scorer: Scorer | None = None
    beams: int = 2
    #: Clips that are worth being captioned together.
    clips_at_once: int = CPU_CLIPS

    @property
    def rates_hz(self) -> tuple[int, ...]:
        """The sample rates it wants waves at; the captioner's is the first."""
        rates = [self.captioner.sample_rate_hz, *([self.scorer.sample_rate_hz] if self.scorer else [])]
        return tuple(dict.fromkeys(rates))

    def tell(self, clips: Sequence[Waves], metadata: Sequence[Metadata]) -> list[Said]:
        """A caption for each clip. One CLAP embedding a clip serves the captioner, too, where it is of its CLAP."""
        waves = [clip[self.captioner.sample_rate_hz] for clip in clips]
        vectors = self._embed(clips)
        captions = self.captioner.caption(
            waves,
            metadata=metadata,
            clap_embeddings=vectors if self._is_its_own else None,
            beams=self.beams,
        )
        if vectors is None:
            return [Said(said, None, None) for said in captions]
        return [
            Said(said, self.score(said.text, vector), vector) for said, vector in zip(captions, vectors, strict=True)
        ]

    def score(self, text: str, vector: np.ndarray) -> float | None:
        """How well a text fits the sound of an embedding (D,); None for no text."""
        if self.scorer is None or not text:
            return None
        return float(self.scorer.embed_text([text])[0] @ vector)

    def _embed(self, clips: Sequence[Waves]) -> np.ndarray | None:
        if self.scorer is None:
            return None
        return self.scorer.embed_audio([clip[self.scorer.sample_rate_hz] for clip in clips])

    @property
    def _is_its_own(self) -> bool:
        from scorer.load import model_name

        return self.scorer is not None and self.captioner.clap_name == model_name(self.scorer)


def open_teller(
    model: str = "embedded",
    device: str = "cpu",
    threads: int = 1,
    *,
    options: CaptionerOptions | None = None,
    score: bool | None = None,
    beams: int = 2,
) -> Teller:
    """`score`: with CLAP scores or without; None: with them if that is the embedded captioner's own, small CLAP.

    An AutoCap's captions are scored by `options.clap`, and by the embedded CLAP where it names none. ModelError.
    """
    from captioner.load import CaptionerOptions
    from scorer.load import EMBEDDED
    from scorer.load import model_name as scorer_name
    from stages.models import shared_captioner, shared_scorer

    options = options or CaptionerOptions()
    try:
        captioner = shared_captioner(model, device, threads, options)
        refuse_without_clap(captioner)
        clap = options.clap if options.clap is not None else EMBEDDED
        scorer = None
        if score or (score is None and options.clap is None and captioner.clap_name is not None):
            scorer = shared_scorer(clap, device, threads, options.clap_options)
            if score is None and scorer_name(scorer) != captioner.clap_name:
                scorer = None
    except (TypeError, ValueError, OSError, RuntimeError, AssertionError, ImportError) as error:
        raise ModelError(f"the captioner {model!r} cannot be loaded on {device}: {error}") from error
    return Teller(captioner, scorer, beams, CPU_CLIPS if device == "cpu" else GPU_CLIPS)


def refuse_without_clap(captioner: Captioner) -> None:
    """CaptionerError, now and not at the first clip, for an AutoCap that has no CLAP for its CLAP token."""
    from captioner.autocap.captioner import AutoCap

    if isinstance(captioner, AutoCap) and captioner.net.shape.clap_dim is not None:
        captioner.own_clap()
