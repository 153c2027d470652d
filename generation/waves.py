"""Made waves as they are saved: at one peak, as 16-bit WAV."""

from __future__ import annotations

import numpy as np

PEAK = 0.8
#: A wave that never exceeds this (-100 dBFS) is silence, and is not made loud.
SILENCE = 1e-5


def peaked(wave: np.ndarray, peak: float = PEAK) -> np.ndarray:
    """The wave (N,) with this peak, float32; silence as it is."""
    loudest = float(np.abs(wave).max(initial=0.0))
    return np.asarray(wave * (peak / loudest) if loudest > SILENCE else wave, dtype=np.float32)
