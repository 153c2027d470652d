"""An audio fingerprint: what two copies of one recording share and two recordings of one kind do not.

    sign = sign of (E[b, t] - E[b+1, t]) - (E[b, t-1] - E[b+1, t-1])      32 bands, one 32-bit word a frame

After Haitsma and Kalker (ISMIR 2002), in our own code: E are energies of 33 bands from 200 to 6500 Hz, log-spaced, in
frames of 384 ms every 48 ms. Gain cancels, a steady noise cancels in the difference over time, and a re-encode or a
shift of half a hop turns about a tenth of the bits; two recordings agree in half of them, be both of them rain.

To find a copy among millions there are keys: the three bands of a frame that change most (with their signs), hashed
with the same of a frame 8 or 12 later. Of a clip's keys those with the smallest hashes are kept, so that two
copies keep the same ones wherever they were cut. docs/dedup.md has the measurements.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audio.mixdown import Wave
from audio.resample import resample

SAMPLE_RATE_HZ = 16_000
WINDOW = 6144
HOP = 768
#: Seconds from one word to the next.
HOP_S = HOP / SAMPLE_RATE_HZ

_BANDS = 33
_LOWEST_HZ, _HIGHEST_HZ = 200.0, 6500.0

#: Bands of a frame that a key names, and frames from a key's first frame to its second: no sample is in both.
_TOP = 3
_GAPS = (8, 12)
#: A band that hardly changes in the whole clip is not made to look lively: its scale is at least this share.
_LEAST_SCALE = 0.3

KEYS_MIN = 40
_KEYS_PER_FRAME = 0.15
MAX_FRAMES = 65_535

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Fingerprint:
    """`words` uint32 (frames,): bit b is the sign of band b. `keys` uint32 (n,), `places` uint16 (n,): their frames."""

    words: npt.NDArray[np.uint32]
    keys: npt.NDArray[np.uint32]
    places: npt.NDArray[np.uint16]


def fingerprint(wave: Wave, sample_rate_hz: int) -> Fingerprint:
    """The fingerprint of a mono wave, about 1 kB for 10 s. Under 0.5 s there is none: it has no words.

    ValueError for NaN, infinity or stereo.
    """
    if wave.ndim != 1:
        raise ValueError(f"a mono wave has one dimension, not {wave.ndim}")
    if not np.isfinite(wave).all():
        raise ValueError("the wave holds NaN or infinity")
    energies = _band_energies(resample(wave, sample_rate_hz, SAMPLE_RATE_HZ))[: MAX_FRAMES + 1]
    across = energies[:, :-1] - energies[:, 1:]
    change = across[1:] - across[:-1]
    words = ((change > 0) @ (np.uint32(1) << np.arange(_BANDS - 1, dtype=np.uint32))).astype(np.uint32)
    keys, places = _keys(change)
    return Fingerprint(words, keys, places)


def _band_energies(wave: Wave) -> Floats:
    """(frames, bands) energies; no frame for what is shorter than a window."""
    if wave.size < WINDOW:
        return np.zeros((0, _BANDS))
    frames = np.lib.stride_tricks.sliding_window_view(wave.astype(np.float32), WINDOW)[::HOP]
    spectrum = np.fft.rfft(frames * np.hanning(WINDOW).astype(np.float32), axis=1)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float64)
    edges = np.geomspace(_LOWEST_HZ, _HIGHEST_HZ, _BANDS + 1)
    bins = np.round(edges / SAMPLE_RATE_HZ * WINDOW).astype(np.int64)
    return np.asarray(np.add.reduceat(power[:, : bins[-1]], bins[:-1], axis=1))


def _keys(change: Floats) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint16]]:
    """The clip's keys with the smallest hashes, ascending, each with the first frame that has it."""
    if len(change) <= min(_GAPS) or not (scale := np.median(np.abs(change), axis=0)).any():
        return np.zeros(0, np.uint32), np.zeros(0, np.uint16)
    lively = change / (scale + _LEAST_SCALE * scale.max())
    top = np.sort(np.argpartition(-np.abs(lively), _TOP, axis=1)[:, :_TOP], axis=1)
    signs = np.take_along_axis(lively, top, axis=1) > 0
    codes = np.zeros(len(lively), np.uint64)
    for at in range(_TOP):
        codes = codes * np.uint64(64) + (top[:, at] * 2 + signs[:, at]).astype(np.uint64)
    hashes, frames = [], []
    for gap in (gap for gap in _GAPS if gap < len(codes)):
        hashes.append(_mixed((codes[:-gap] << np.uint64(24)) + (codes[gap:] << np.uint64(6)) + np.uint64(gap)))
        frames.append(np.arange(len(codes) - gap))
    keys, first = np.unique(np.concatenate(hashes), return_index=True)
    count = max(KEYS_MIN, round(_KEYS_PER_FRAME * len(change)))
    return keys[:count], np.concatenate(frames)[first[:count]].astype(np.uint16)


def _mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint32]:
    """A hash of each value, evenly spread (the finaliser of splitmix64)."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(32)).astype(np.uint32)
