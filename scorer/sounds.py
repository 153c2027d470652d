"""The labelled recordings that the small models are trained on, and which of them may be trained on.

`tools/sounds/get_sounds.py DIR` unpacks them and writes DIR/sounds.jsonl, one line per recording. Weights are
trained on CC0, CC-BY, CC-BY-SA and MIT recordings only; the GPL ones serve for measuring.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SAMPLE_RATE_HZ = 16_000
PEAK = 0.7
MEASURE_PACKAGES = ("gcompris-qt-data",)
FREE_LICENCES = ("CC0", "CC-BY", "MIT")

#: How much of the training scenes each sort of sound gets: everyday sounds first, single notes last.
SHARES = {"everyday": 0.63, "notes": 0.20, "drums": 0.12, "speech": 0.05}


@dataclass(frozen=True)
class Sound:
    wave: np.ndarray  # float32 mono at 16 kHz, peak 0.7, silence at both ends removed
    label: str  # "a dog barking"
    package: str
    kind: str  # animal, human, sfx, music, speech, synthetic
    name: str  # the file's own name, as a careless title would have it


def read_sounds(folder: Path, *, only: Sequence[str] = ()) -> list[Sound]:
    """The recordings that may be trained on or, with `only`, all those of these packages."""
    rows = [json.loads(line) for line in (folder / "sounds.jsonl").read_text().splitlines()]
    rows = [r for r in rows if (r["package"] in only if only else is_free(r))]
    sounds = [
        Sound(read_wave(folder / r["file"]), r["label_text"], r["package"], r["kind"], r["raw_name"]) for r in rows
    ]
    return [s for s in sounds if s.wave.size >= SAMPLE_RATE_HZ // 50]


def is_free(row: dict[str, str]) -> bool:
    return row["package"] not in MEASURE_PACKAGES and all(
        part.strip().startswith(FREE_LICENCES) for part in row["licence"].split("/")
    )


def read_wave(path: Path) -> np.ndarray:
    import soundfile
    import soxr

    wave, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    mono = soxr.resample(wave.mean(axis=1), rate_hz, SAMPLE_RATE_HZ)
    return normalise(trim(mono))


def trim(wave: np.ndarray) -> np.ndarray:
    """Without the ends that lie 50 dB under the peak."""
    loud = np.flatnonzero(np.abs(wave) > 0.003 * np.abs(wave).max(initial=1e-6))
    return wave[loud[0] : loud[-1] + 1] if loud.size else wave[:0]


def normalise(wave: np.ndarray) -> np.ndarray:
    return np.asarray(wave * (PEAK / max(float(np.abs(wave).max(initial=0.0)), 1e-4)), dtype=np.float32)


def sampling_weights(sounds: list[Sound]) -> np.ndarray:
    """How often each recording is drawn: common captions less often, and fixed shares per sort of sound."""
    captions = Counter(s.label for s in sounds)
    groups = np.array([_group(s) for s in sounds])
    weights = np.array([captions[s.label] ** -0.7 for s in sounds])
    for group, share in SHARES.items():
        here = groups == group
        weights[here] *= share / max(weights[here].sum(), 1e-9)
    return np.asarray(weights / weights.sum())


def _group(sound: Sound) -> str:
    if sound.kind == "speech" and sound.package.startswith("asterisk"):
        return "speech"
    if sound.package.startswith("fluidr3mono") and sound.kind == "music":
        return "notes"
    return "drums" if sound.package == "sonic-pi-samples" and sound.kind == "music" else "everyday"
