"""How often the filters are right, on real sounds and on written captions: the tables of docs/filters.md.

python tools/sounds/get_sounds.py SOUNDS            # or another folder with a sounds.jsonl of the same shape
python -m benchmarks.filters_quality --sounds SOUNDS [--captions]

Recordings of speech, music and other sounds are taken as they are for negatives and spoilt on purpose for positives:
attenuated, clipped, shifted, inverted, resampled. Each goes through what a clip goes through: the decoder where there
are channels, 48 kHz, 16 bits. `--captions` adds what the embedded captioner and scorer make of them (minutes).
"""

from __future__ import annotations

import argparse
import io
import json
import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import yaml

from audio.bandwidth import bandwidth_hz
from audio.codec import decode_bytes, encode, pcm16
from audio.decode import AudioSource
from audio.measure import Measures, measure
from audio.mixdown import Wave
from audio.resample import resample
from audio.speech import SAMPLE_RATE_HZ, SpeechDetector
from stages.words import Lexicon, counts

RATE_HZ = 48_000
LONGEST_S = 10
WRITTEN = Path(__file__).parent.parent / "tests" / "data" / "captions.yaml"
LABELS = Path(__file__).parent.parent / "tools" / "sounds" / "labels.jsonl"
OTHER = ("sfx", "animal", "synthetic")
#: The package that the embedded models are never trained on.
HELD_OUT = "gcompris-qt-data"


@dataclass(frozen=True)
class Sound:
    """A recording at 48 kHz, at most ten seconds of it."""

    file: Path
    kind: str
    label: str
    package: str
    native_hz: int
    channels: int
    wave: Wave


def load(folder: Path) -> list[Sound]:
    rows = [json.loads(line) for line in (folder / "sounds.jsonl").read_text(encoding="utf-8").splitlines()]
    return [sound for sound in (read(folder / row["file"], row) for row in rows) if sound.wave.size >= RATE_HZ // 10]


def read(path: Path, row: dict[str, str]) -> Sound:
    samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    wave = resample(samples[: LONGEST_S * rate_hz].mean(axis=1), rate_hz, RATE_HZ)
    return Sound(path, row["kind"], row["label_text"], row["package"], rate_hz, samples.shape[1], stored(wave))


def stored(wave: Wave) -> Wave:
    """As the corpus holds it: 16 bits."""
    return (pcm16(wave) / 32768).astype(np.float32)


def at_peak(wave: Wave, dbfs: float) -> Wave:
    return (wave * np.float32(10 ** (dbfs / 20) / max(float(np.abs(wave).max()), 1e-6))).astype(np.float32)


def rate(flags: Iterable[bool]) -> str:
    """`97.3 % (95.0-98.6) of 555`, with Wilson's 95 % interval."""
    seen = list(flags)
    if not seen:
        return "none"
    n, p, z = len(seen), sum(seen) / len(seen), 1.96
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return f"{100 * p:.1f} % ({100 * max(middle - half, 0):.1f}-{100 * min(middle + half, 1):.1f}) of {n}"


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    print(f"\n### {title}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |")


def heard_speech(sounds: Sequence[Sound]) -> dict[Path, float]:
    detector = SpeechDetector()
    ratio = {sound.file: detector.speech_ratio(resample(sound.wave, RATE_HZ, SAMPLE_RATE_HZ)) for sound in sounds}

    def over(limit: float, kinds: Sequence[str]) -> str:
        return rate(ratio[sound.file] > limit for sound in sounds if sound.kind in kinds)

    limits = (0.0, 0.1, 0.3, 0.5)
    table(
        "Heard speech",
        ["`max_speech_ratio`", "speech found", "music taken for speech", "other sounds taken for speech"],
        [(limit, over(limit, ["speech"]), over(limit, ["music"]), over(limit, OTHER)) for limit in limits],
    )
    return ratio


def level(sounds: Sequence[Sound]) -> None:
    plain = [measure(sound.wave, RATE_HZ) for sound in sounds]
    quiet = [measure(stored(at_peak(sound.wave, -66)), RATE_HZ) for sound in sounds]

    def rows(limits: Sequence[float], flag: Callable[[Measures, float], bool]) -> list[tuple[object, ...]]:
        return [
            (limit, rate(flag(found, limit) for found in quiet), rate(flag(found, limit) for found in plain))
            for limit in limits
        ]

    columns = ["limit", "found at a peak of -66 dBFS", "of the recordings as they are"]
    table("Silence: `max_silence_ratio`", columns, rows((0.5, 0.9, 0.95), lambda m, limit: m.silence_ratio > limit))
    table("Silence: `min_rms_dbfs`", columns, rows((-70, -60, -50), lambda m, limit: m.rms_dbfs < limit))


def clipping(sounds: Sequence[Sound]) -> None:
    def ratios(gain_db: float) -> list[float]:
        return [measure(stored(at_peak(sound.wave, gain_db)), RATE_HZ).clipping_ratio for sound in sounds]

    spoilt = {gain_db: ratios(gain_db) for gain_db in (20, 12, 6, 3)}
    clean = ratios(-1)
    plain = [measure(sound.wave, RATE_HZ).clipping_ratio for sound in sounds]
    table(
        "Clipping: `max_clipping_ratio`",
        ["limit", *(f"found, +{gain_db} dB over full scale" for gain_db in spoilt), "peak at -1 dBFS", "as they are"],
        [
            (limit, *(rate(r > limit for r in found) for found in (*spoilt.values(), clean, plain)))
            for limit in (0.0, 0.001, 0.01, 0.05)
        ],
    )


def offset(sounds: Sequence[Sound]) -> None:
    shifts = (0.01, 0.03, 0.1)
    found = {
        shift: [
            measure(stored(at_peak(sound.wave, -3) + sign * shift), RATE_HZ).dc_offset
            for sound in sounds
            for sign in (-1, 1)
        ]
        for shift in shifts
    }
    plain = [measure(sound.wave, RATE_HZ).dc_offset for sound in sounds]
    table(
        "Offset: `max_dc_offset`",
        ["limit", *(f"found, ±{shift:g} added" for shift in shifts), "as they are"],
        [
            (
                limit,
                *(rate(abs(value) > limit for value in found[shift]) for shift in shifts),
                rate(abs(v) > limit for v in plain),
            )
            for limit in (0.005, 0.01, 0.02)
        ],
    )


def fold_db(left: Wave, right: Wave) -> float | None:
    """Through a stereo file and the decoder, as the cut stage hears it."""
    size = min(left.size, right.size)
    file = io.BytesIO()
    soundfile.write(file, np.stack([left[:size], right[:size]], axis=1), RATE_HZ, format="FLAC", subtype="PCM_16")
    file.seek(0)
    with AudioSource(file) as source:
        return source.folded_segment(0, size * 1000 // RATE_HZ).mono_fold_db


def folds(sounds: Sequence[Sound]) -> None:
    chosen = random.Random(0).sample(list(sounds), min(400, len(sounds)))
    waves = [at_peak(sound.wave, -6) for sound in chosen]
    made = {
        "inverted": [fold_db(wave, -wave) for wave in waves],
        "inverted, 1 dB softer": [fold_db(wave, -0.891 * wave) for wave in waves],
        "identical": [fold_db(wave, wave) for wave in waves],
        "one channel empty": [fold_db(wave, 0 * wave) for wave in waves],
        "two recordings": [fold_db(one, two) for one, two in zip(waves, [*waves[1:], waves[0]], strict=True)],
    }
    stereo = [sound for sound in sounds if sound.channels > 1]
    made["the stereo recordings as they are"] = [real_fold_db(sound.file) for sound in stereo]
    table(
        "Mono fold: `min_mono_fold_db`",
        ["channels", "below -6 dB", "below -12 dB", "below -20 dB"],
        [
            (name, *(rate(level < limit for level in levels if level is not None) for limit in (-6, -12, -20)))
            for name, levels in made.items()
        ],
    )


def real_fold_db(path: Path) -> float | None:
    with AudioSource(path) as source:
        return source.folded_segment(0, LONGEST_S * 1000).mono_fold_db


def bandwidth(sounds: Sequence[Sound]) -> None:
    wide = [sound for sound in sounds if sound.native_hz >= 32_000]

    def through(narrow_hz: int, codec: str | None = None) -> list[int]:
        """Bandwidths of the recordings after a visit to a lower rate, and to a lossy codec."""
        widths = []
        for sound in wide:
            wave = resample(resample(at_peak(sound.wave, -9), RATE_HZ, narrow_hz), narrow_hz, RATE_HZ)
            wave = decode_bytes(encode(wave, RATE_HZ, codec))[0] if codec else wave
            widths.append(bandwidth_hz(stored(wave), RATE_HZ))
        return widths

    cases = {
        "8 kHz source": through(8000),
        "8 kHz source, then MP3": through(8000, "mp3"),
        "8 kHz source, then Opus": through(8000, "opus"),
        "16 kHz source": through(16_000),
        "22.05 kHz source": through(22_050),
        "as they are (32 kHz and up)": [bandwidth_hz(sound.wave, RATE_HZ) for sound in wide],
        "... effects and animals of them": [bandwidth_hz(s.wave, RATE_HZ) for s in wide if s.kind in OTHER],
        "telephone prompts (8 kHz files)": [bandwidth_hz(s.wave, RATE_HZ) for s in sounds if s.native_hz == 8000],
    }
    table(
        "Bandwidth: `min_bandwidth_hz`",
        ["source", "5th, 50th, 95th percentile, Hz", "under 5,000 Hz", "under 9,000 Hz", "under 12,000 Hz"],
        [
            (
                name,
                ", ".join(f"{value:,.0f}" for value in np.percentile(widths, [5, 50, 95])),
                *(rate(width < limit for width in widths) for limit in (5000, 9000, 12_000)),
            )
            for name, widths in cases.items()
        ],
    )


def words() -> None:
    lexicon = Lexicon()
    print(f"\n### Word lists\n\n{', '.join(f'{count} {name}' for name, count in counts().items())}")
    texts = {f"written: {name}": found for name, found in yaml.safe_load(WRITTEN.read_text(encoding="utf-8")).items()}
    for line in LABELS.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        texts.setdefault(f"labels: {row['kind']}", set()).add(row["label_text"])
    rows = []
    for name, captions in texts.items():
        found = [lexicon.find(caption) for caption in sorted(captions)]
        rows.append(
            (
                name,
                *(
                    rate(map(bool, words))
                    for words in zip(*((f.speech, f.music, f.speech or f.music) for f in found), strict=True)
                ),
            )
        )
    table("Keywords", ["captions", "speech word", "music word", "either"], rows)


def both_nets(sounds: Sequence[Sound], speech: dict[Path, float]) -> None:
    """What the words of the embedded captioner's captions add to what is heard."""
    from captioner.load import Metadata, load_captioner
    from scorer.load import load_scorer

    captioner, lexicon = load_captioner("embedded", "cpu", 1, scorer=load_scorer("embedded", "cpu", 1)), Lexicon()
    groups = {kind: [sound for sound in sounds if sound.kind == kind] for kind in ("speech", "music", "sfx", "animal")}
    held_out = [sound for sound in sounds if sound.package == HELD_OUT]
    groups["music, never trained on"] = [sound for sound in held_out if sound.kind == "music"]
    groups["other sounds, never trained on"] = [sound for sound in held_out if sound.kind in OTHER]
    rows = []
    for name, members in groups.items():
        chosen = random.Random(0).sample(members, min(150, len(members)))
        waves = [resample(sound.wave, RATE_HZ, captioner.sample_rate_hz) for sound in chosen]
        captions = captioner.caption(waves, metadata=[Metadata(title="", video_caption="")] * len(waves), beams=2)
        said = [any(lexicon.find(text)) for text, _ in captions]
        heard = [speech[sound.file] > 0.3 for sound in chosen]
        rows.append((name, rate(said), rate(heard), rate(a or b for a, b in zip(said, heard, strict=True))))
    table("Both nets", ["recordings of", "dropped by words", "dropped by speech heard (> 0.3)", "by either"], rows)


def joins(sounds: Sequence[Sound]) -> None:
    """Cosines of neighbouring windows of one recording, and of windows of two."""
    from scorer.load import load_scorer

    scorer = load_scorer("embedded", "cpu", 1)
    long = [sound for sound in sounds if sound.wave.size >= 6 * RATE_HZ]
    halves = [half for sound in long for half in np.array_split(sound.wave, 2)]
    vectors = scorer.embed_audio([resample(half, RATE_HZ, scorer.sample_rate_hz) for half in halves])
    one, two = vectors[::2], vectors[1::2]
    cosines = one @ two.T
    same = np.diag(cosines)
    label = np.array([sound.label for sound in long])
    other = cosines[label[:, None] != label[None, :]]
    table(
        "Join by embedding: `min_similarity` (embedded scorer; halves of recordings of 6 s and longer)",
        ["limit", "two halves of one recording joined", "halves of recordings with different labels joined"],
        [(limit, rate((same >= limit).tolist()), rate((other >= limit).tolist())) for limit in (0.8, 0.9, 0.95, 0.98)],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--sounds", type=Path, required=True, help="folder with sounds.jsonl (tools/sounds/get_sounds.py)"
    )
    parser.add_argument("--captions", action="store_true", help="caption and embed them too (minutes)")
    arguments = parser.parse_args()
    sounds = load(arguments.sounds)
    print(f"{len(sounds)} recordings of {len({sound.package for sound in sounds})} packages")
    words()
    speech = heard_speech(sounds)
    level(sounds)
    clipping(sounds)
    offset(sounds)
    folds(sounds)
    bandwidth(sounds)
    if arguments.captions:
        both_nets(sounds, speech)
        joins(sounds)


if __name__ == "__main__":
    main()
