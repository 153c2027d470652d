"""Caption a data set with several numbers of beams, for the metrics of captioner/metrics.

    for said in caption_clips(captioner, hear_rows(rows), [1, 2, 3], scorer):
        said.captions[2].text, said.clap[2]

A clip is heard and encoded once, whatever the number of beams; one batch of clips is in memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from audio.resample import resample
from captioner.load import Captioned, Captioner, Metadata
from scorer.load import Scorer, model_name

#: A batch ends after so much sound, or earlier. What an AutoCap's encoder leaves of a clip takes 3 MB.
BATCH_S = 640.0
CPU_BATCH, GPU_BATCH = 16, 256


class EvaluateError(ValueError):
    """A data set that cannot be evaluated as asked: what, where, and what to do."""


@dataclass(frozen=True)
class Clip:
    """One clip to be captioned: its wave (mono float32 at `sample_rate_hz`) and what people say of it."""

    name: str
    wave: np.ndarray
    sample_rate_hz: int
    references: tuple[str, ...]
    metadata: Metadata = field(default_factory=Metadata)


@dataclass(frozen=True)
class Unheard:
    """A clip that has no caption: a short word for why (`undecodable`, `unreadable`, ...), and a sentence."""

    name: str
    reason: str
    detail: str


@dataclass(frozen=True)
class Said:
    """What was said of a clip, by number of beams; `clap`: how well the sound fits each caption."""

    name: str
    references: tuple[str, ...]
    captions: dict[int, Captioned]
    clap: dict[int, float] = field(default_factory=dict)


def caption_clips(
    captioner: Captioner,
    clips: Iterable[Clip | Unheard],
    beams: Sequence[int],
    scorer: Scorer | None = None,
    batch: int = CPU_BATCH,
) -> Iterator[Said | Unheard]:
    """Each clip's captions, in order but for those that cannot be heard, which come as soon as they are met.

    `batch`: clips of one pass at most; it bounds memory and changes no caption beyond rounding. With a scorer that is
    the captioner's own CLAP, one embedding of a clip serves both.
    """
    waiting: list[Clip] = []
    for clip in clips:
        fault = clip if isinstance(clip, Unheard) else _unfit(clip, captioner)
        if fault is not None:
            yield fault
            continue
        assert isinstance(clip, Clip)
        waiting.append(clip)
        if len(waiting) == batch or sum(c.wave.size / c.sample_rate_hz for c in waiting) >= BATCH_S:
            yield from _together(captioner, waiting, beams, scorer)
            waiting = []
    if waiting:
        yield from _together(captioner, waiting, beams, scorer)


def _unfit(clip: Clip, captioner: Captioner) -> Unheard | None:
    samples = clip.wave.size * captioner.sample_rate_hz // clip.sample_rate_hz
    if samples < captioner.min_samples:
        return Unheard(
            clip.name, "too_short", f"{clip.wave.size} samples at {clip.sample_rate_hz} Hz are nothing to hear"
        )
    if not np.isfinite(clip.wave).all():
        return Unheard(clip.name, "not_finite", "some samples are NaN or infinite")
    return None


def _together(
    captioner: Captioner, clips: Sequence[Clip], beams: Sequence[int], scorer: Scorer | None
) -> Iterator[Said]:
    vectors = None if scorer is None else scorer.embed_audio(_at(clips, scorer.sample_rate_hz))
    shared = scorer is not None and captioner.clap_name == model_name(scorer)
    encoded = captioner.encode(
        _at(clips, captioner.sample_rate_hz),
        metadata=[clip.metadata for clip in clips],
        clap_embeddings=vectors if shared else None,
    )
    said = {number: captioner.say(encoded, beams=number) for number in beams}
    scores: dict[int, np.ndarray] = {}
    if scorer is not None and vectors is not None:
        texts = {number: scorer.embed_text([one.text for one in captions]) for number, captions in said.items()}
        scores = {number: (vectors * text).sum(axis=1) for number, text in texts.items()}
    for at, clip in enumerate(clips):
        clap = {number: float(score[at]) for number, score in scores.items()}
        yield Said(clip.name, clip.references, {number: said[number][at] for number in beams}, clap)


def _at(clips: Sequence[Clip], sample_rate_hz: int) -> list[np.ndarray]:
    return [resample(clip.wave, clip.sample_rate_hz, sample_rate_hz) for clip in clips]
