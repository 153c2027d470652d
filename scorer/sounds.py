"""The recordings that the small models are trained on, and which of them may be trained on.

`tools/sounds/get_sounds.py DIR` unpacks them and writes DIR/sounds.jsonl, one line per labelled recording, and
DIR/wild.jsonl, one line per unlabelled one, which only a teacher can name. Weights are trained on CC0, CC-BY,
CC-BY-SA and MIT recordings only; the GPL ones serve for measuring.
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
CARRY_PACKAGES = ("wesnoth-1.16-data", "7kaa-data")  # creatures, weapons and weather: no weight learns from them
FREE_LICENCES = ("CC0", "CC-BY", "MIT")

#: How much of the training scenes each sort of sound gets: everyday sounds first, single notes last.
SHARES = {"everyday": 0.72, "notes": 0.15, "drums": 0.09, "speech": 0.04}
#: What is read of a long unlabelled recording: a song says no more in four minutes.
WILD_SECONDS = 45


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


def read_wild(folder: Path) -> list[Sound]:
    """The unlabelled recordings, none where `get_sounds.py` found none; their label is empty, their kind "wild"."""
    listed = folder / "wild.jsonl"
    rows = [json.loads(line) for line in listed.read_text().splitlines()] if listed.exists() else []
    sounds = [
        Sound(read_wave(folder / r["file"], WILD_SECONDS), "", r["package"], "wild", r["path_in_package"])
        for r in rows
        if is_free(r)
    ]
    return [s for s in sounds if s.wave.size >= SAMPLE_RATE_HZ // 50]


def is_free(row: dict[str, str]) -> bool:
    return row["package"] not in MEASURE_PACKAGES and all(
        part.strip().startswith(FREE_LICENCES) for part in row["licence"].split("/")
    )


def read_wave(path: Path, longest_s: int | None = None) -> np.ndarray:
    import soundfile
    import soxr

    frames = soundfile.info(path).samplerate * longest_s if longest_s else -1
    wave, rate_hz = soundfile.read(path, frames=frames, dtype="float32", always_2d=True)
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


def wild_weights(sounds: list[Sound]) -> np.ndarray:
    """How often each unlabelled recording is drawn: a folder of many alike less often than its size."""
    folders = [s.name.rsplit("/", 1)[0] for s in sounds]
    sizes = Counter(folders)
    weights = np.array([sizes[folder] ** -0.5 for folder in folders])
    return np.asarray(weights / weights.sum())


def _group(sound: Sound) -> str:
    if sound.kind == "speech" and sound.package.startswith("asterisk"):
        return "speech"
    if sound.package.startswith("fluidr3mono") and sound.kind == "music":
        return "notes"
    return "drums" if sound.package == "sonic-pi-samples" and sound.kind == "music" else "everyday"
