"""A clip of any length as windows of the length that the model hears.

A shorter clip is repeated until it fills the window, a longer one becomes evenly spread windows that cover it;
its embedding is the normalised mean of theirs. A clip up to 2 % over the window is cut: rounding, not content.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

SLACK = 1.02


def check(wave: np.ndarray) -> np.ndarray:
    """One-dimensional, finite, not empty float32, or a ValueError that says what is wrong."""
    wave = np.asarray(wave, dtype=np.float32)
    if wave.ndim != 1:
        raise ValueError(f"a wave must be mono, of one dimension; this one has shape {wave.shape}")
    if wave.size == 0:
        raise ValueError("a wave with no samples cannot be embedded")
    if not np.isfinite(wave).all():
        raise ValueError("the wave holds samples that are not finite numbers")
    return wave


def level(wave: np.ndarray, peak: float = 0.4) -> np.ndarray:
    """The wave at one peak, so that loudness does not change what is heard; near-silence stays as it is."""
    loudest = float(np.abs(wave).max())
    return np.asarray(wave * (peak / loudest), dtype=np.float32) if loudest > 1e-4 else wave


def windows(wave: np.ndarray, size: int, *, repeat: bool = True, period: int = 1) -> list[np.ndarray]:
    """One or more windows of `size` samples. Without `repeat` a shorter clip stays short.

    A repetition begins every `period` samples or, of a clip that is longer, at its end; silence lies between. A bark
    said ten times a second is no bark any more.
    """
    if wave.size <= size:
        return [np.resize(np.pad(wave, (0, max(period - wave.size, 0))), size) if repeat else wave]
    if wave.size <= size * SLACK:
        return [wave[:size]]
    count = math.ceil(wave.size / size)
    starts = [round(k * (wave.size - size) / (count - 1)) for k in range(count)]
    return [wave[start : start + size] for start in starts]


def pool(parts: Sequence[np.ndarray]) -> np.ndarray:
    """The normalised mean of a clip's unit vectors."""
    mean = np.mean(np.stack(parts), axis=0) if len(parts) > 1 else parts[0]
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), dtype=np.float32)
