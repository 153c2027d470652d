"""Ten-second scenes mixed from short recordings, with what is heard in them.

A captioned scene holds one to three recordings, placed or looped, with noise under them. Of a wild scene only the
teacher can say what it is: a medley of many recordings, labelled and unlabelled, one after another, or a few of
them bent beyond their names (slowed, chopped, reversed, filtered).
Every scene comes from a seed alone: scene `k` is the same however many are made, and by however many workers.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np

from scorer.sounds import SAMPLE_RATE_HZ, Sound, normalise, sampling_weights, wild_weights

SAMPLES = 10 * SAMPLE_RATE_HZ


@dataclass(frozen=True)
class Scene:
    wave: np.ndarray  # float32, 160000 samples
    labels: tuple[str, ...]  # empty for a wild scene
    relation: str  # alone, while, then, background
    names: tuple[str, ...]  # the recordings' file names, for titles


class SceneMaker:
    """Scenes over a fixed list of recordings; `wild_share` of them wild, two thirds of their sounds from `wild`."""

    def __init__(
        self, sounds: list[Sound], *, wild: list[Sound] | None = None, seed: int = 0, wild_share: float = 0.0
    ) -> None:
        self.sounds = sounds
        self.weights = sampling_weights(sounds).tolist()
        self.wild = wild or []
        self.wild_weights = wild_weights(self.wild).tolist() if self.wild else []
        self.seed = seed
        self.wild_share = wild_share

    def scene(self, number: int) -> Scene:
        rng = random.Random(f"{self.seed}/{number}")
        if rng.random() < self.wild_share:
            return Scene(finish(self._wild(rng), rng), (), "alone", ())
        picked, relation = self._pick(rng)
        wave = np.zeros(SAMPLES, dtype=np.float32)
        for at, sound in enumerate(picked):
            gain_db = rng.uniform(-14, -7) if relation == "background" and at else rng.uniform(-6, 0)
            span = (0.0, 1.0)
            if relation == "then":
                middle = rng.uniform(0.4, 0.6)
                span = (0.0, middle) if at == 0 else (middle, 1.0)
            wave += 10 ** (gain_db / 20) * place(vary_speed(sound.wave, rng.uniform(0.8, 1.25)), span, rng)
        labels = tuple(s.label for s in picked)
        return Scene(finish(wave, rng), labels, relation, tuple(s.name for s in picked))

    def _pick(self, rng: random.Random) -> tuple[list[Sound], str]:
        count = rng.choices((1, 2, 3), (0.55, 0.32, 0.13))[0]
        picked: list[Sound] = []
        while len(picked) < count:
            (sound,) = rng.choices(self.sounds, self.weights)
            if all(sound.label != other.label for other in picked):
                picked.append(sound)
        if count == 1:
            return picked, "alone"
        return picked, rng.choice(("while", "then", "background")) if count == 2 else "while"

    def _wild(self, rng: random.Random) -> np.ndarray:
        pick = rng.random()
        if pick < 0.08:
            return synthetic(rng)
        return self._medley(rng) if pick < 0.62 else self._bent(rng)

    def _any(self, rng: random.Random) -> np.ndarray:
        """Any recording, or ten seconds at most from anywhere in it."""
        if self.wild and rng.random() < 2 / 3:
            (sound,) = rng.choices(self.wild, self.wild_weights)
        else:
            (sound,) = rng.choices(self.sounds, self.weights)
        start = rng.randrange(max(1, sound.wave.size - SAMPLES + 1))
        return sound.wave[start : start + SAMPLES]

    def _medley(self, rng: random.Random) -> np.ndarray:
        """Recordings one after another, short ones said twice or thrice, sometimes over a quieter one."""
        wave = np.zeros(SAMPLES, dtype=np.float32)
        at = 0
        while at < SAMPLES:
            piece = vary_speed(self._any(rng), 2 ** rng.uniform(-0.4, 0.4))[
                : int(rng.uniform(1.0, 5.0) * SAMPLE_RATE_HZ)
            ]
            if piece.size < SAMPLE_RATE_HZ:
                piece = np.tile(piece, rng.choice((1, 2, 3)))
            piece = normalise(piece) * 10 ** (rng.uniform(-9, 0) / 20)
            room = wave[at : at + piece.size]
            room += piece[: room.size]
            at += piece.size + int(rng.choice((0.0, 0.0, rng.uniform(0, 0.6))) * SAMPLE_RATE_HZ)
        if rng.random() < 0.3:
            wave += 10 ** (rng.uniform(-20, -8) / 20) * place(self._any(rng), (0.0, 1.0), rng)
        return wave

    def _bent(self, rng: random.Random) -> np.ndarray:
        wave = np.zeros(SAMPLES, dtype=np.float32)
        for _ in range(rng.choice((1, 1, 2))):
            bent = vary_speed(self._any(rng), 2 ** rng.uniform(-1.2, 1.2))
            if rng.random() < 0.15:
                bent = bent[::-1]
            if rng.random() < 0.3:
                bent = chop(bent, rng)
            if rng.random() < 0.3:
                bent = band_pass(bent, rng)
            wave += rng.uniform(0.4, 1.0) * place(normalise(bent), (0.0, 1.0), rng)
        return wave


def place(wave: np.ndarray, span: tuple[float, float], rng: random.Random) -> np.ndarray:
    """The recording inside a stretch of the scene: looped with gaps, or put there one to three times."""
    out = np.zeros(SAMPLES, dtype=np.float32)
    begin, end = int(span[0] * SAMPLES), int(span[1] * SAMPLES)
    room = end - begin
    if wave.size >= room:
        start = rng.randrange(wave.size - room + 1)
        out[begin:end] = wave[start : start + room]
    elif rng.random() < 0.6:
        at = begin + int(rng.uniform(0, 0.3) * min(wave.size, room))
        gap = int(rng.choice((0.0, 0.0, rng.uniform(0.05, 1.0))) * SAMPLE_RATE_HZ)
        while at < end:
            piece = wave[: end - at]
            out[at : at + piece.size] += piece
            at += wave.size + gap
    else:
        for _ in range(rng.choice((1, 2, 3))):
            at = begin + rng.randrange(room - wave.size + 1)
            out[at : at + wave.size] += wave
    return out


def finish(wave: np.ndarray, rng: random.Random) -> np.ndarray:
    """Peak at a random level, and in half of the scenes white or pink noise 15 to 45 dB below."""
    wave = normalise(wave)
    if rng.random() < 0.5:
        rms = float(np.sqrt(np.mean(wave**2)))
        wave = wave + rms * 10 ** (-rng.uniform(15, 45) / 20) * noise(rng, rng.choice((0.0, 1.0)))
    return np.asarray(normalise(wave) * 10 ** (rng.uniform(-15, 0) / 20), dtype=np.float32)


def noise(rng: random.Random, tilt: float) -> np.ndarray:
    """Noise of unit rms whose power falls with frequency to the power `tilt`: 0 white, 1 pink, 2 brown."""
    source = np.random.default_rng(rng.getrandbits(32))
    spectrum = np.fft.rfft(source.standard_normal(SAMPLES, dtype=np.float32))
    spectrum *= np.maximum(np.arange(spectrum.size), 20.0) ** (-tilt / 2)
    wave = np.fft.irfft(spectrum, SAMPLES)
    return np.asarray(wave / np.sqrt(np.mean(wave**2)), dtype=np.float32)


def synthetic(rng: random.Random) -> np.ndarray:
    """Shaped noise, a pulse train or a gliding call."""
    time_s = np.arange(SAMPLES, dtype=np.float32) / SAMPLE_RATE_HZ
    rate_hz = 2 ** rng.uniform(-1, 4)
    swell = (0.5 + 0.5 * np.sin(2 * np.pi * rate_hz * time_s)) ** rng.choice((1, 4, 16))
    if rng.random() < 0.5:
        return np.asarray(swell * band_pass(noise(rng, rng.uniform(0, 2)), rng), dtype=np.float32)
    base_hz = 2 ** rng.uniform(7, 11.5)
    phase = 2 * np.pi * np.cumsum(base_hz * (1 + rng.uniform(-0.4, 0.4) * swell)) / SAMPLE_RATE_HZ
    tone = sum(np.sin(k * phase) / k for k in range(1, rng.choice((2, 4, 8))))
    return np.asarray(swell * tone, dtype=np.float32)


def vary_speed(wave: np.ndarray, factor: float) -> np.ndarray:
    """Faster and higher by `factor`, by linear interpolation."""
    positions = np.arange(0, wave.size - 1, factor)
    return np.asarray(np.interp(positions, np.arange(wave.size), wave), dtype=np.float32)


def chop(wave: np.ndarray, rng: random.Random) -> np.ndarray:
    """Some short piece of it, several times over."""
    size = min(wave.size, int(rng.uniform(0.08, 0.8) * SAMPLE_RATE_HZ))
    start = rng.randrange(wave.size - size + 1)
    pause = np.zeros(int(rng.uniform(0, 0.3) * SAMPLE_RATE_HZ), dtype=np.float32)
    return np.tile(np.concatenate([wave[start : start + size], pause]), rng.randrange(2, 9))


def band_pass(wave: np.ndarray, rng: random.Random) -> np.ndarray:
    spectrum = np.fft.rfft(wave)
    hz = np.fft.rfftfreq(wave.size, 1 / SAMPLE_RATE_HZ)
    centre_hz = 2 ** rng.uniform(8, 12)
    spectrum *= np.exp(-0.5 * (np.log2(np.maximum(hz, 1.0) / centre_hz) / rng.uniform(0.4, 1.5)) ** 2)
    return np.asarray(np.fft.irfft(spectrum, wave.size), dtype=np.float32)
