"""Six numbers that say how loud, how empty and how broken a clip is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audio.bandwidth import bandwidth_hz
from audio.mixdown import Wave

#: What silence measures: nothing is quieter (16 bits end near -96).
FLOOR_DBFS = -120.0
#: A frame quieter than this is silent.
SILENT_FRAME_DBFS = -60.0
FRAME_MS = 20
#: So many samples in a row at full scale are clipping; fewer may be a peak that just fits.
CLIPPED_RUN = 3
CLIPPED_LEVEL = 0.999


@dataclass(frozen=True)
class Measures:
    """Of one clip. A sine of amplitude 1 peaks at 0 dBFS and has -3.01 dBFS rms. Ratios are shares of its length."""

    peak_dbfs: float
    rms_dbfs: float
    silence_ratio: float
    clipping_ratio: float
    #: The mean sample, with its sign: what a cheap sound card adds to everything.
    dc_offset: float
    #: Where the content ends (audio/bandwidth.py).
    bandwidth_hz: int


def measure(wave: Wave, sample_rate_hz: int) -> Measures:
    """The measures of a mono wave; no samples measure as silence. ValueError for NaN, infinity or stereo."""
    if wave.ndim != 1:
        raise ValueError(f"a mono wave has one dimension, not {wave.ndim}")
    if sample_rate_hz <= 0:
        raise ValueError(f"the sample rate must be above zero, not {sample_rate_hz}")
    if wave.size == 0:
        return Measures(FLOOR_DBFS, FLOOR_DBFS, silence_ratio=1.0, clipping_ratio=0.0, dc_offset=0.0, bandwidth_hz=0)
    level = np.abs(wave)
    peak = float(level.max())
    if not np.isfinite(peak):
        raise ValueError("the wave holds NaN or infinity")
    power = np.square(wave, dtype=np.float64)
    return Measures(
        peak_dbfs=_dbfs(peak),
        rms_dbfs=_dbfs(float(np.sqrt(power.mean()))),
        silence_ratio=_silence_ratio(power, sample_rate_hz),
        clipping_ratio=_clipping_ratio(level >= CLIPPED_LEVEL),
        dc_offset=float(wave.mean(dtype=np.float64)),
        bandwidth_hz=bandwidth_hz(wave, sample_rate_hz),
    )


def _dbfs(amplitude: float) -> float:
    return max(20.0 * float(np.log10(amplitude)), FLOOR_DBFS) if amplitude > 0 else FLOOR_DBFS


def _silence_ratio(power: npt.NDArray[np.float64], sample_rate_hz: int) -> float:
    """Share of samples in silent 20 ms frames; the last frame may be shorter."""
    frame = max(sample_rate_hz * FRAME_MS // 1000, 1)
    starts = np.arange(0, power.size, frame)
    sizes = np.minimum(power.size - starts, frame)
    silent = np.add.reduceat(power, starts) / sizes < 10 ** (SILENT_FRAME_DBFS / 10)
    return float(sizes[silent].sum() / power.size)


def _clipping_ratio(full: npt.NDArray[np.bool_]) -> float:
    """Share of samples in runs of `CLIPPED_RUN` or more at full scale."""
    if not full.any():
        return 0.0
    edges = np.flatnonzero(np.diff(full, prepend=False, append=False))
    runs = edges[1::2] - edges[::2]
    return float(runs[runs >= CLIPPED_RUN].sum() / full.size)
