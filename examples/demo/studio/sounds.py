"""The real recordings: found by package and name, cleaned up, all brought to one loudness.

The folder is what `tools/sounds` describes: recordings unpacked from Debian packages and a `sounds.jsonl` that
names each one's package, its path in it, its licence and what is heard. Only the packages of `LICENCES` may be
used: what is rendered from them is shipped with the repo.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import soxr

RATE_HZ = 44_100
LOUDNESS_DBFS = -20.0
PEAK = 0.89

#: Package -> licence of its recordings, as the package's own copyright file states it.
LICENCES = {
    "scratch": "CC-BY-SA-3.0",
    "minetest-data": "CC-BY-SA-3.0, CC-BY-3.0 and CC0-1.0",
    "minetest-mod-homedecor": "CC-BY-SA-4.0",
    "sonic-pi-samples": "CC0-1.0",
    "fluidr3mono-gm-soundfont": "MIT",
    "asterisk-core-sounds-en-wav": "CC-BY-SA-3.0",
}


@dataclass(frozen=True)
class Recording:
    """One real recording: mono, at RATE_HZ, silence trimmed, -20 dBFS while it sounds."""

    name: str  # `package:raw name`
    package: str
    file: str  # path in the package
    label_text: str
    wave: np.ndarray


class Library:
    """Recordings by `package:raw name`, read once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[str, Recording] = {}
        self._rows: dict[str, dict[str, Any]] = {}
        for line in (folder / "sounds.jsonl").read_text().splitlines():
            row = json.loads(line)
            self._rows.setdefault(f"{row['package']}:{Path(row['raw_name']).stem}", row)

    def __getitem__(self, name: str) -> Recording:
        if name not in self._read:
            row = self._rows[name]
            if row["package"] not in LICENCES:
                raise ValueError(f"{name}: recordings of {row['package']} may not be shipped")
            wave = level(trim(decode_mono(self.folder / row["file"])))
            self._read[name] = Recording(name, row["package"], row["path_in_package"], row["label_text"], wave)
        return self._read[name]


def decode_mono(path: Path) -> np.ndarray:
    """The whole file as mono float32 at RATE_HZ."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        to_floats = av.AudioResampler(format="fltp", layout="mono", rate=stream.rate)
        frames = [out for frame in container.decode(stream) for out in to_floats.resample(frame)]
        frames += to_floats.resample(None)
        wave = np.concatenate([frame.to_ndarray()[0] for frame in frames])
        return soxr.resample(wave, stream.rate, RATE_HZ, quality="HQ").astype(np.float32)


def active_frames(wave: np.ndarray, below_peak_db: float = 35.0) -> np.ndarray:
    """One bool per 10 ms: is it within `below_peak_db` of the loudest frame?"""
    size = RATE_HZ // 100
    padded = np.pad(wave, (0, -len(wave) % size)).reshape(-1, size)
    power = (padded.astype(np.float64) ** 2).mean(axis=1) + 1e-12
    return 10 * np.log10(power / power.max()) > -below_peak_db


def trim(wave: np.ndarray) -> np.ndarray:
    """Without the silence at both ends, which would make the truth's times a lie."""
    at = np.flatnonzero(active_frames(wave))
    size = RATE_HZ // 100
    return wave[at[0] * size : (at[-1] + 1) * size]


def level(wave: np.ndarray, loudness_dbfs: float = LOUDNESS_DBFS) -> np.ndarray:
    """Scaled so that its sounding part has this loudness, unless a peak would clip first."""
    size = RATE_HZ // 100
    mask = np.repeat(active_frames(wave, 30.0), size)[: len(wave)]
    rms = float(np.sqrt((wave[mask].astype(np.float64) ** 2).mean()))
    gain = min(10 ** (loudness_dbfs / 20) / rms, PEAK / float(np.abs(wave).max()))
    return (wave * gain).astype(np.float32)
