"""How well copies are told from their like: recall and precision for each distortion, on real sounds.

    python -m benchmarks.dedup_quality --sounds SOUNDS      # a folder filled by tools/sounds/get_sounds.py

Each recording of 4 s and more gives an original (all but its last second, 10 s at most) and one copy per distortion.
For each distortion the originals and the copies go through the dedup job together, as clips of a corpus would: one
copy among hundreds of others, many with the same label. Recall: copies that are grouped with their original.
Precision: groupings that are right. Two files that hold one recording (packages share sounds) are told by the
correlation of their waves, which knows nothing of fingerprints.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import soundfile
import soxr

from audio.codec import decode_bytes
from audio.fingerprint import fingerprint
from corpus.dedup import Rules
from corpus.dedup_clips import CLIPS
from corpus.fingerprints import Prints, agree, pack
from pipeline.dedup_job import Copies
from pipeline.spread import Here

RATE_HZ = 48_000
LONGEST_S, SPARE_S = 10.0, 1.0

Wave = np.ndarray[Any, np.dtype[np.float32]]
Distortion = Callable[[Wave, int, np.random.Generator], Wave]


@dataclass
class Recording:
    label: str
    kind: str
    name: str
    wave: Wave  # a second longer than the original, for shifted cuts


# -- distortions: of a wave with a second to spare, the copy of its first `samples`


def lossy(container: str, encoder: str, bit_rate: int) -> Distortion:
    def distort(wave: Wave, samples: int, rng: np.random.Generator) -> Wave:
        return encoded(wave[:samples], container, encoder, bit_rate)

    return distort


def shifted(shift_ms: int) -> Distortion:
    return lambda wave, samples, rng: wave[shift_ms * 48 :][:samples]


def louder(gain_db: float) -> Distortion:
    return lambda wave, samples, rng: wave[:samples] * np.float32(10 ** (gain_db / 20))


def noisy(snr_db: float) -> Distortion:
    def distort(wave: Wave, samples: int, rng: np.random.Generator) -> Wave:
        wave = wave[:samples]
        level = np.sqrt(np.mean(wave**2)) * 10 ** (-snr_db / 20)
        return np.asarray(wave + level * rng.standard_normal(len(wave)), np.float32)

    return distort


def after(first: Distortion, second: Distortion) -> Distortion:
    def distort(wave: Wave, samples: int, rng: np.random.Generator) -> Wave:
        changed = first(wave, samples, rng)
        return second(changed, len(changed), rng)

    return distort


DISTORTIONS: dict[str, Distortion] = {
    "mp3 64 kbit/s": lossy("mp3", "libmp3lame", 64_000),
    "opus 32 kbit/s": lossy("ogg", "libopus", 32_000),
    **{f"shift {ms} ms": shifted(ms) for ms in (50, 100, 250, 350, 500, 1000)},
    "gain +12 dB (clips)": louder(12),
    "gain -12 dB": louder(-12),
    "noise at 20 dB": noisy(20),
    "mp3, shift 350 ms, -6 dB": after(after(shifted(350), louder(-6)), lossy("mp3", "libmp3lame", 64_000)),
    "opus, shift 570 ms, noise": after(after(shifted(570), noisy(20)), lossy("ogg", "libopus", 32_000)),
}


def encoded(wave: Wave, container: str, encoder: str, bit_rate: int) -> Wave:
    """There and back through an encoder."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream: Any = output.add_stream(encoder, rate=RATE_HZ, layout="mono")
        stream.bit_rate = bit_rate
        context = stream.codec_context
        context.thread_count = 1
        context.open()
        resampler = av.AudioResampler(format=context.format.name, layout="mono", rate=RATE_HZ)
        size = context.frame_size or 1024
        for start in range(0, len(wave), size):
            frame = av.AudioFrame.from_ndarray(as_pcm(wave[start : start + size])[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, start, Fraction(1, RATE_HZ)
            for converted in resampler.resample(frame):
                for packet in stream.encode(converted):
                    output.mux(packet)
        for packet in stream.encode(None):
            output.mux(packet)
    return decode_bytes(file.getvalue())[0]


def as_pcm(wave: Wave) -> np.ndarray[Any, np.dtype[np.int16]]:
    return np.clip(np.rint(wave * 32768), -32768, 32767).astype(np.int16)


# -- sounds


def recordings(folder: Path, least_s: float) -> Iterator[Recording]:
    for line in (folder / "sounds.jsonl").read_text().splitlines():
        row = json.loads(line)
        if row["seconds"] < least_s:
            continue
        with soundfile.SoundFile(folder / row["file"]) as file:
            wave = file.read(int((LONGEST_S + SPARE_S) * file.samplerate), dtype="float32", always_2d=True).mean(axis=1)
            wave = soxr.resample(wave, file.samplerate, RATE_HZ).astype(np.float32)
        if np.abs(wave).max() > 1e-3:
            yield Recording(row["cls"], row["kind"], row["file"], wave)


def clip(name: str, wave: Wave) -> dict[str, Any]:
    """A row as the corpus would have it."""
    pcm = as_pcm(wave)
    found = fingerprint(pcm.astype(np.float32) / np.float32(32768), RATE_HZ)
    return {
        "clip_id": name,
        "duration_ms": len(pcm) * 1000 // RATE_HZ,
        "clipping_ratio": 0.0,
        "bandwidth_hz": 20_000,
        "sample_rate_hz": RATE_HZ,
        "fingerprint": pack(found.words, found.keys, found.places),
    }


def copies_of(rows: list[dict[str, Any]]) -> dict[str, str]:
    """clip -> the kept copy, of every clip that is dropped."""
    found = Copies(Here(), Rules())
    found.add(pa.Table.from_pylist(rows, schema=CLIPS))
    columns = found.find()
    names = [row["clip_id"] for row in rows]
    verdicts = zip(names, columns["dup_group"].to_pylist(), columns["dup_keep"].to_pylist(), strict=True)
    return {name: kept for name, kept, keep in verdicts if not keep}


def correlation(a: Wave, b: Wave) -> float:
    """The highest normalised correlation of two waves over all shifts: near 1 where one recording is in both."""
    size = 1 << int(np.ceil(np.log2(len(a) + len(b))))
    peak = np.abs(np.fft.irfft(np.fft.rfft(a, size) * np.conj(np.fft.rfft(b, size)))).max()
    return float(peak / np.sqrt(min(np.sum(a**2), np.sum(b**2)) * max(np.sum(a**2), np.sum(b**2))))


# -- the tables


@dataclass
class Score:
    copies: int = 0
    found: int = 0
    grouped: int = 0
    right: int = 0

    def line(self, name: str) -> str:
        recall = self.found / max(self.copies, 1)
        precision = self.right / max(self.grouped, 1)
        return f"| {name} | {self.copies} | {recall:.1%} | {precision:.1%} ({self.grouped - self.right} wrong) |"


class Truth:
    """Which recordings are one: each with itself, and files that share a recording."""

    def __init__(self, sounds: list[Recording]) -> None:
        self._sounds = sounds
        self._known: dict[tuple[int, int], float] = {}

    def same(self, i: int, j: int) -> bool:
        i, j = sorted((i, j))
        if i == j:
            return True
        if (i, j) not in self._known:
            self._known[i, j] = correlation(self._sounds[i].wave, self._sounds[j].wave)
        return self._known[i, j] > 0.35

    def lines(self) -> Iterator[str]:
        for (i, j), peak in sorted(self._known.items(), key=lambda item: -item[1]):
            a, b = self._sounds[i], self._sounds[j]
            yield f"  correlation {peak:.2f}: {a.name} ({a.label}) and {b.name} ({b.label})"


def judge(
    sounds: list[Recording], originals: list[dict[str, Any]], copies: list[dict[str, Any]], truth: Truth
) -> Score:
    """`copies[i]` is of `originals[i]`, both of `sounds[i]`; clip ids are `<number>.<o or c>`."""
    kept = copies_of([*originals, *copies])
    score = Score(copies=len(copies))
    for at in range(len(copies)):
        here = {kept.get(f"{at}.{kind}", f"{at}.{kind}") for kind in "oc"}
        score.found += len(here) == 1
    for name, keeper in kept.items():
        score.grouped += 1
        score.right += truth.same(int(name.split(".")[0]), int(keeper.split(".")[0]))
    return score


def distortions(
    sounds: list[Recording], length_s: float, names: list[str], truth: Truth
) -> Iterator[tuple[str, Score]]:
    rng = np.random.default_rng(0)
    samples = [int(min(length_s * RATE_HZ, len(sound.wave) - SPARE_S * RATE_HZ)) for sound in sounds]
    originals = [clip(f"{at}.o", sound.wave[: samples[at]]) for at, sound in enumerate(sounds)]
    for name in names:
        copies = [clip(f"{at}.c", DISTORTIONS[name](sound.wave, samples[at], rng)) for at, sound in enumerate(sounds)]
        yield name, judge(sounds, originals, copies, truth)


def unlike(folder: Path) -> Iterator[tuple[str, int, int]]:
    """(what, clips, clips that were grouped) of sounds that are alike and no copies."""
    rng = np.random.default_rng(1)
    seconds = RATE_HZ * 5
    time = np.arange(seconds) / RATE_HZ

    def noise(level_dbfs: float) -> Wave:
        return np.asarray(10 ** (level_dbfs / 20) * rng.standard_normal(seconds), np.float32)

    def hum(at: int) -> Wave:
        tones = sum(np.sin(2 * np.pi * 50 * k * time + rng.uniform(0, 6)) / k for k in range(1, 20))
        return np.asarray(0.05 * tones + noise(-70), np.float32)

    def tone(at: int) -> Wave:
        return np.asarray(0.3 * np.sin(2 * np.pi * (300 + 40 * at) * time) * np.exp(-time / 2), np.float32)

    made = {
        "white noise": [noise(-20) for _ in range(200)],
        "near-silent noise (-85 dBFS)": [noise(-85) for _ in range(200)],
        "mains hum under faint noise": [hum(at) for at in range(200)],
        "decaying tones 40 Hz apart": [tone(at) for at in range(100)],
        "digital silence of 100 lengths": [np.zeros(seconds - 480 * at, np.float32) for at in range(100)],
    }
    for what, waves in made.items():
        yield what, len(waves), len(copies_of([clip(f"{at}.o", wave) for at, wave in enumerate(waves)]))
    parts = []
    for line in (folder / "sounds.jsonl").read_text().splitlines():
        row = json.loads(line)
        if row["seconds"] >= 10 and row["kind"] != "music":
            wave, rate = soundfile.read(folder / row["file"], dtype="float32", always_2d=True, frames=60 * 48_000)
            wave = soxr.resample(wave.mean(axis=1), rate, RATE_HZ)
            parts += [wave[at : at + seconds] for at in range(0, len(wave) - seconds, seconds)]
    rows = [clip(f"{at}.o", wave) for at, wave in enumerate(parts) if np.abs(wave).max() > 1e-3]
    yield "consecutive 5 s of long recordings", len(rows), len(copies_of(rows))


def embeddings(sounds: list[Recording], names: list[str]) -> Iterator[str]:
    """What the CLAP embedding would do: alone, with a threshold at which 1 % of the originals have a false copy, and
    as the one that names the ten nearest, of which the fingerprint then takes what agrees with it at any lag.
    """
    from scorer.load import load_scorer

    scorer = load_scorer("embedded")
    rng = np.random.default_rng(0)

    def embed(waves: list[Wave]) -> Any:
        at_rate = [soxr.resample(as_pcm(wave) / 32768, RATE_HZ, scorer.sample_rate_hz) for wave in waves]
        at_rate = [wave.astype(np.float32) for wave in at_rate]
        return np.concatenate([scorer.embed_audio(at_rate[at : at + 16]) for at in range(0, len(at_rate), 16)])

    samples = [int(min(LONGEST_S * RATE_HZ, len(sound.wave) - SPARE_S * RATE_HZ)) for sound in sounds]
    waves = [sound.wave[: samples[at]] for at, sound in enumerate(sounds)]
    originals = embed(waves)
    others = originals @ originals.T
    np.fill_diagonal(others, -1)
    threshold = float(np.quantile(others.max(axis=1), 0.99))
    for name in names:
        copies = [DISTORTIONS[name](sound.wave, samples[at], rng) for at, sound in enumerate(sounds)]
        cosines = embed(copies) @ originals.T
        own = np.diag(cosines)
        among_ten = (cosines > own[:, None]).sum(axis=1) < 10
        both = among_ten & np.array([agrees(a, b) for a, b in zip(waves, copies, strict=True)])
        yield f"| {name} | {np.mean(own >= threshold):.1%} | {np.mean(among_ten):.1%} | {np.mean(both):.1%} |"
    yield f"\nthreshold {threshold:.5f}: 1 % of the originals have another recording above it"


def agrees(a: Wave, b: Wave) -> bool:
    """Whether two clips' fingerprints agree at any lag up to 1.2 s."""
    prints = Prints.of(pa.array([clip("a", a)["fingerprint"], clip("b", b)["fingerprint"]], pa.binary()))
    zero, one = np.zeros(1, np.int64), np.ones(1, np.int64)
    found = agree(prints, zero, prints, one, zero, within=25)
    return bool(found.errors[0] <= Rules().allowed(found.frames)[0] and found.kappa[0] >= 0.3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sounds", type=Path, required=True)
    parser.add_argument("--most", type=int, default=10_000, help="Recordings to take.")
    parser.add_argument("--embeddings", action="store_true", help="Also what the CLAP embedding alone would do.")
    options = parser.parse_args()
    sounds = list(recordings(options.sounds, 4.0))[: options.most]
    truth = Truth(sounds)
    print(f"{len(sounds)} recordings of {len({sound.label for sound in sounds})} labels\n")
    print("| distortion | copies | recall | precision |\n|---|---|---|---|")
    total = Score()
    for name, score in distortions(sounds, LONGEST_S, list(DISTORTIONS), truth):
        print(score.line(name), flush=True)
        for part in Score.__annotations__:
            setattr(total, part, getattr(total, part) + getattr(score, part))
    print(total.line("all"))
    print("\npairs of files that were grouped, and how their waves correlate (above 0.35: one recording)")
    print("\n".join(truth.lines()))
    print("\n| length | recall, precision: mp3 | opus | shift 250 ms | noise at 20 dB |\n|---|---|---|---|---|")
    for length_s in (1.0, 1.5, 2.0):
        names = ["mp3 64 kbit/s", "opus 32 kbit/s", "shift 250 ms", "noise at 20 dB"]
        scores = [score for _, score in distortions(sounds, length_s, names, truth)]
        cells = [f"{s.found / s.copies:.1%}, {s.right / max(s.grouped, 1):.1%}" for s in scores]
        print(f"| {length_s:g} s | {' | '.join(cells)} |", flush=True)
    print("\n| unlike, though alike | clips | grouped |\n|---|---|---|")
    for what, clips, grouped in unlike(options.sounds):
        print(f"| {what} | {clips} | {grouped} |", flush=True)
    if options.embeddings:
        print("\n| distortion | embedding alone | among its 10 nearest | of these, the fingerprint agrees |")
        print("|---|---|---|---|")
        for line in embeddings(sounds, list(DISTORTIONS)):
            print(line, flush=True)


if __name__ == "__main__":
    main()
