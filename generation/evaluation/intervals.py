"""How far the mean of a few clips can be trusted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

RESAMPLES = 1000


class Mean(NamedTuple):
    """A mean over clips with its 95 % interval; None where there is none (one clip, or no resamples)."""

    value: float
    low: float | None = None
    high: float | None = None


def mean_of(values: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0) -> Mean:
    """The bootstrap's: `values` (N,) drawn N at a time with replacement; 2.5 and 97.5 percentiles of the means."""
    value = float(np.mean(values))
    if len(values) < 2 or resamples < 1:
        return Mean(value)
    rng = np.random.default_rng(seed)
    means = [float(values[rng.integers(len(values), size=len(values))].mean()) for _ in range(resamples)]
    low, high = np.percentile(means, [2.5, 97.5])
    return Mean(value, float(low), float(high))
