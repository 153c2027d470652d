"""Shards of `autorecap export` as waves of one length: decoded, cropped, resampled, mixed, levelled, padded.

A clip that is longer than what the generator hears is cropped at random, again where nothing is heard in the crop; what
is drawn follows from the generator handed in.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import soundfile
import torch

from audio.codec import decode_bytes
from audio.faults import DecodeError
from audio.media import as_decode_error
from audio.resample import resample
from generation.conditioners.by_ear import by_ear
from generation.data_recipe import Filters, Mixing
from generation.data_samples import Clips, check_duration, check_record, one_of, told_of
from training.mixtures import joined, mix
from training.samples import Unusable, sound_of
from training.shards import Sample

#: Crops of a long clip that are tried until one is heard, and the amplitude from which it is (the reference's).
CROP_TRIES = 10
SILENCE = 1e-4
#: Fewer samples than this are no clip (the reference's).
MIN_SAMPLES = 101


@dataclass(kw_only=True)
class WaveBatch(Clips):
    """`waves`: (B, samples) float32, levelled, zeros behind short clips. `by_ear`: (B,) bool, whose sound stands for
    its caption (generation/conditioners/by_ear.py)."""

    waves: torch.Tensor
    by_ear: torch.Tensor


@dataclass
class WaveClip:
    key: str
    caption: str
    dataset: str | None
    wave: np.ndarray  # mono float32 at the generator's rate, at most its length, as loud as recorded


@dataclass(frozen=True)
class Waves:
    """Data of kind "waves" for a generator that hears `samples` at `sample_rate_hz`, each clip through `level`."""

    sample_rate_hz: int
    samples: int
    level: Callable[[np.ndarray], np.ndarray]
    filters: Filters = field(default_factory=Filters)
    mixing: Mixing = field(default_factory=Mixing)
    audio_share: float = 0.0

    @property
    def length_s(self) -> float:
        return self.samples / self.sample_rate_hz

    def clip(self, sample: Sample, dataset: str | None, rng: np.random.Generator | None) -> WaveClip:
        told = told_of(sample)
        captions = check_record(told, self.filters)
        sound = Sound(sound_of(sample))
        check_duration(sound.duration_s, self.filters)
        wave = self._heard(sound, self._crop(sound, rng))
        return WaveClip(str(sample["__key__"]), captions[one_of(captions, rng)], dataset or told.dataset, wave)

    def windows(self, sound: Sound) -> Iterator[np.ndarray]:
        """All of a sound in even windows, the silent ones left out."""
        size = self._size_in(sound)
        count = max(1, -(-sound.samples // size))
        starts = [round(k * (sound.samples - size) / (count - 1)) for k in range(count)] if count > 1 else [0]
        for start in starts:
            part = sound.read(start, size)
            if self.filters.keep_silence or is_heard(part):
                yield self._heard(sound, part)

    def ready(self, wave: np.ndarray) -> np.ndarray:
        """(samples,) float32: levelled, zeros behind it."""
        out = np.zeros(self.samples, dtype=np.float32)
        out[: wave.size] = self.level(wave)
        return out

    def batch(self, clips: Sequence[WaveClip], rng: np.random.Generator | None) -> WaveBatch:
        if rng is not None and self.mixing.share > 0 and len(clips) > 1:
            clips = self._mixed(clips, rng)
        return WaveBatch(
            keys=[clip.key for clip in clips],
            captions=[clip.caption for clip in clips],
            datasets=[clip.dataset for clip in clips],
            waves=torch.from_numpy(np.stack([self.ready(clip.wave) for clip in clips])),
            by_ear=torch.from_numpy(by_ear(len(clips), self.audio_share, rng)),
        )

    def _size_in(self, sound: Sound) -> int:
        """The generator's length in samples of the sound's own rate."""
        return self.samples * sound.sample_rate_hz // self.sample_rate_hz

    def _crop(self, sound: Sound, rng: np.random.Generator | None) -> np.ndarray:
        """The first crop that is heard; without `rng` the first of even windows."""
        size = self._size_in(sound)
        last = sound.samples - size
        if last <= 0:
            starts = iter([0])
        elif rng is None:
            starts = iter(range(0, last + 1, size))
        else:
            starts = (int(rng.integers(last + 1)) for _ in range(CROP_TRIES))
        for start in starts:
            part = sound.read(start, size)
            if is_heard(part):
                return part
        if not self.filters.keep_silence:
            raise Unusable("silent")
        return part

    def _heard(self, sound: Sound, part: np.ndarray) -> np.ndarray:
        """A part of the sound at the generator's rate; Unusable if nothing is left of it."""
        wave = resample(part, sound.sample_rate_hz, self.sample_rate_hz)[: self.samples]
        if wave.size < MIN_SAMPLES:
            raise Unusable("too_short")
        return wave

    def _mixed(self, clips: Sequence[WaveClip], rng: np.random.Generator) -> list[WaveClip]:
        """Some of the clips with another one of the batch under them."""
        return [
            self._mixture(clip, clips[(at + int(rng.integers(1, len(clips)))) % len(clips)], rng)
            if rng.random() < self.mixing.share
            else clip
            for at, clip in enumerate(clips)
        ]

    def _mixture(self, front: WaveClip, back: WaveClip, rng: np.random.Generator) -> WaveClip:
        background = bool(rng.random() < self.mixing.background)
        snr_db = float(rng.uniform(*(self.mixing.background_snr_db if background else self.mixing.beside_snr_db)))
        return WaveClip(
            key=f"{front.key}+{back.key}",
            caption=joined(front.caption, back.caption, background=background),
            dataset=front.dataset,
            wave=mix(front.wave, back.wave, snr_db),
        )


def is_heard(wave: np.ndarray) -> bool:
    return bool(np.abs(wave).max(initial=0.0) > SILENCE)


class Sound:
    """One encoded sound; of FLAC and WAV only what is read is decoded. Unusable when it cannot be."""

    def __init__(self, data: bytes) -> None:
        self._file: soundfile.SoundFile | None = None
        self._wave = np.zeros(0, dtype=np.float32)
        try:
            if data[:4] in (b"fLaC", b"RIFF"):
                with as_decode_error("the bytes cannot be decoded"):
                    self._file = soundfile.SoundFile(io.BytesIO(data))
                self.samples, self.sample_rate_hz = int(self._file.frames), int(self._file.samplerate)
            if self._file is None or self.samples > _MOST_SAMPLES:  # a FLAC that was streamed does not know its length
                self._file = None
                self._wave, self.sample_rate_hz = decode_bytes(data)
                self.samples = int(self._wave.size)
        except DecodeError:
            raise Unusable("undecodable") from None
        if self.samples == 0:
            raise Unusable("too_short")

    @property
    def duration_s(self) -> float:
        return self.samples / self.sample_rate_hz

    def read(self, start: int, size: int) -> np.ndarray:
        """Mono float32, at most `size` samples from `start`."""
        if self._file is None:
            return self._wave[start : start + size]
        try:
            with as_decode_error("the bytes cannot be decoded"):
                self._file.seek(start)
                wave = self._file.read(size, dtype="float32", always_2d=True)
        except DecodeError:
            raise Unusable("undecodable") from None
        mono = wave[:, 0] if wave.shape[1] == 1 else wave.mean(axis=1)
        finite = np.isfinite(mono)
        return np.asarray(mono if finite.all() else np.where(finite, mono, 0.0), dtype=np.float32)


#: A day at 384 kHz.
_MOST_SAMPLES = 86_400 * 384_000
