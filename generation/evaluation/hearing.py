"""Hear a set of sounds once, with all extractors, and keep what the metrics ask for.

In memory are a few clips at a time, a mean and a covariance an extractor, and 2 kB of logits a clip; vectors are kept
only where a metric compares them one by one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from audio.resample import resample
from generation.errors import GenerationError
from generation.evaluation.extractors.face import Embedded, Extractor, TextExtractor
from generation.evaluation.gaussian import Gaussian
from generation.evaluation.sounds import Sound, Sounds, Unread

#: Clips are embedded together until they add up to this.
_TOGETHER_S, _TOGETHER_CLIPS = 160.0, 32

OnClip = Callable[[Unread | None], None]


@dataclass
class Kept:
    """What one extractor made of a set, in rows of float32."""

    gaussian: Gaussian
    #: As the sounds lie there; empty unless they were to be kept.
    vectors: list[np.ndarray] = field(default_factory=list)
    #: Of a CLAP: each clip's vector, in the order of the names.
    clips: list[np.ndarray] = field(default_factory=list)
    #: Of an extractor that tells classes, in the order of the names.
    logits: list[np.ndarray] = field(default_factory=list)


@dataclass
class HeardSet:
    """A set of sounds that has been heard. `kept` has an entry for each extractor, in their order."""

    kept: list[Kept]
    names: list[str] = field(default_factory=list)
    captions: list[tuple[str, ...]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    rates_hz: Counter[int] = field(default_factory=Counter)
    unread: list[Unread] = field(default_factory=list)


def hear(
    sounds: Sounds,
    names: Collection[str],
    extractors: Sequence[Extractor],
    *,
    keep_vectors: bool = False,
    clip_s: float | None = None,
    on_clip: OnClip = lambda unread: None,
) -> HeardSet:
    """These of the `sounds`, of each the first `clip_s` seconds. `on_clip` is told of every clip, with what is wrong.

    GenerationError when not one can be heard, or an
    extractor gives what is no number.
    """
    heard = HeardSet([Kept(Gaussian(extractor.dim)) for extractor in extractors])
    for clips in _batches(sounds, set(names), clip_s, heard, on_clip):
        for extractor, kept in zip(extractors, heard.kept, strict=True):
            _keep(kept, extractor, clips, keep_vectors)
        for clip in clips:
            heard.names.append(clip.name)
            heard.captions.append(clip.captions)
            heard.seconds.append(clip.wave.size / clip.sample_rate_hz)
            heard.rates_hz[clip.sample_rate_hz] += 1
    if not heard.names:
        told = "; ".join(f"{one.name}: {one.detail}" for one in heard.unread[:3])
        raise GenerationError(f"none of the {len(heard.unread)} sounds of {sounds.place} can be heard ({told})")
    _sort(heard)
    return heard


def _sort(heard: HeardSet) -> None:
    """By name, however the sounds lie."""
    order = sorted(range(len(heard.names)), key=heard.names.__getitem__)
    heard.names = [heard.names[place] for place in order]
    heard.captions = [heard.captions[place] for place in order]
    heard.seconds = [heard.seconds[place] for place in order]
    for kept in heard.kept:
        kept.clips = [kept.clips[place] for place in order] if kept.clips else []
        kept.logits = [kept.logits[place] for place in order] if kept.logits else []


def _batches(
    sounds: Sounds, names: set[str], clip_s: float | None, heard: HeardSet, on_clip: OnClip
) -> Iterator[list[Sound]]:
    waiting: list[Sound] = []
    for one in sounds.read(names):
        if isinstance(one, Unread):
            heard.unread.append(one)
            on_clip(one)
            continue
        waiting.append(_beginning(one, clip_s))
        on_clip(None)
        if len(waiting) == _TOGETHER_CLIPS or sum(it.wave.size / it.sample_rate_hz for it in waiting) > _TOGETHER_S:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def _beginning(sound: Sound, clip_s: float | None) -> Sound:
    if clip_s is None:
        return sound
    return Sound(sound.name, sound.wave[: round(clip_s * sound.sample_rate_hz)], sound.sample_rate_hz, sound.captions)


def _keep(kept: Kept, extractor: Extractor, clips: Sequence[Sound], keep_vectors: bool) -> None:
    waves = [_at_rate(clip, extractor.sample_rate_hz) for clip in clips]
    found = extractor.embed(waves)
    _check(extractor, found, clips)
    kept.gaussian.add(found.vectors)
    if keep_vectors:
        kept.vectors.extend(found.vectors)
    if isinstance(extractor, TextExtractor):
        kept.clips.extend(found.vectors)
    if found.logits is not None:
        kept.logits.extend(found.logits)


def _at_rate(clip: Sound, rate_hz: int) -> np.ndarray:
    """At least one sample: of a handful at a high rate resampling may leave none."""
    wave = resample(clip.wave, clip.sample_rate_hz, rate_hz)
    return wave if wave.size else np.zeros(1, dtype=np.float32)


def _check(extractor: Extractor, found: Embedded, clips: Sequence[Sound]) -> None:
    """An extractor may be a stranger's."""
    of_clips = f"{extractor.name} made of {len(clips)} clips ({clips[0].name}, …)"
    if found.vectors.ndim != 2 or found.vectors.shape[1] != extractor.dim:
        raise GenerationError(f"{of_clips} vectors of shape {found.vectors.shape}, not (…, {extractor.dim})")
    if found.logits is not None and (found.logits.ndim != 2 or len(found.logits) != len(clips)):
        raise GenerationError(f"{of_clips} logits of shape {found.logits.shape}, not ({len(clips)}, …)")
    for what, values in (("vectors", found.vectors), ("logits", found.logits)):
        if values is not None and not np.isfinite(values).all():
            raise GenerationError(f"{of_clips} {what} that are not finite")
