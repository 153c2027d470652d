"""Change the sample rate: soxr at its HQ setting, everywhere in the project."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import soxr

Wave = npt.NDArray[np.float32]


def resample(wave: Wave, from_hz: int, to_hz: int) -> Wave:
    """`wave` at `to_hz`: ceil-or-floor of len * to_hz / from_hz samples, no delay, edges faded by the filter."""
    if from_hz <= 0 or to_hz <= 0:
        raise ValueError(f"sample rates must be above zero, not {from_hz} and {to_hz}")
    if wave.ndim != 1:
        raise ValueError(f"a mono wave has one dimension, not {wave.ndim}")
    if from_hz == to_hz or wave.size == 0:
        return wave.astype(np.float32, copy=False)
    return np.asarray(soxr.resample(wave.astype(np.float32, copy=False), from_hz, to_hz, quality="HQ"), np.float32)
