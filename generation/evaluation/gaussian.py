"""Mean and covariance of vectors that come batch by batch: memory for D x D numbers, however many vectors there are."""

from __future__ import annotations

import numpy as np


class Gaussian:
    """The normal distribution fitted to all vectors added so far, in float64.

    Batches are merged by their means and scatters (Chan's rule): nothing is lost where the mean is far from zero.
    """

    def __init__(self, dim: int) -> None:
        self.count = 0
        self.mean = np.zeros(dim)
        self._scatter = np.zeros((dim, dim))

    @property
    def dim(self) -> int:
        return int(self.mean.size)

    def add(self, vectors: np.ndarray) -> Gaussian:
        """`vectors` (V, D), finite; gives itself, for chaining. ValueError for another width or what is no number."""
        rows = np.asarray(vectors, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != self.dim:
            raise ValueError(f"vectors must be (V, {self.dim}), not {rows.shape}")
        if not np.isfinite(rows).all():
            raise ValueError("vectors hold numbers that are not finite")
        if not len(rows):
            return self
        mean = rows.mean(axis=0)
        centred = rows - mean
        apart = mean - self.mean
        total = self.count + len(rows)
        self._scatter += centred.T @ centred + np.outer(apart, apart) * (self.count * len(rows) / total)
        self.mean = self.mean + apart * (len(rows) / total)
        self.count = total
        return self

    @property
    def covariance(self) -> np.ndarray:
        """(D, D), unbiased (over N - 1); zeros of fewer than two vectors."""
        return self._scatter / max(self.count - 1, 1)
