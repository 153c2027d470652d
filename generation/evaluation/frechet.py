"""Fréchet distance between two sets of vectors, each taken for a normal distribution. FAD, FD and FID are this.

    |m1 - m2|^2 + Tr(S1 + S2 - 2 (S1 S2)^1/2)

Tr (S1 S2)^1/2 is the sum of the square roots of the eigenvalues of S1^1/2 S2 S1^1/2, which is symmetric: they are real
and not negative, also where a covariance is singular, and nothing need be added to its diagonal.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from generation.evaluation.gaussian import Gaussian

#: Sizes of subset that an extrapolation draws.
POINTS = 15


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """ValueError where one has fewer than two vectors, or they differ in width. At least 0."""
    if a.dim != b.dim:
        raise ValueError(f"vectors of {a.dim} and of {b.dim} numbers have no distance")
    if min(a.count, b.count) < 2:
        raise ValueError("a Fréchet distance needs two vectors of each set")
    apart = a.mean - b.mean
    one, other = a.covariance, b.covariance
    shared = _root_trace(one, other)
    return max(float(apart @ apart + np.trace(one) + np.trace(other) - 2.0 * shared), 0.0)


def _root_trace(one: np.ndarray, other: np.ndarray) -> float:
    """Tr (S1 S2)^1/2 of two symmetric matrices without negative eigenvalues."""
    values, vectors = np.linalg.eigh(one)
    root = vectors * np.sqrt(np.maximum(values, 0.0))  # root @ root.T is `one`
    return float(np.sqrt(np.maximum(np.linalg.eigvalsh(root.T @ other @ root), 0.0)).sum())


class Extrapolated(NamedTuple):
    """What the distance tends to with ever more vectors; `r_squared`: how well it follows the line, 1 = exactly."""

    value: float
    r_squared: float


def frechet_inf(vectors: np.ndarray, reference: Gaussian, *, points: int = POINTS, seed: int = 0) -> Extrapolated:
    """The distance of ever larger subsets of `vectors` (V, D), drawn without replacement, on a line over 1 / size.

    Its value at 1 / size = 0 depends less on V than the distance itself does. The reference stays whole. ValueError for
    fewer than 8 vectors.
    """
    if len(vectors) < 8:
        raise ValueError(f"{len(vectors)} vectors are too few to extrapolate from; 8 at least")
    rng = np.random.default_rng(seed)
    sizes = np.unique(np.linspace(len(vectors) // 4, len(vectors), points).astype(int))
    found = np.array([_distance_of(vectors[rng.permutation(len(vectors))[:size]], reference) for size in sizes])
    slope, start = np.polyfit(1.0 / sizes, found, 1)
    missed = float(((found - (slope / sizes + start)) ** 2).sum())
    spread = float(((found - found.mean()) ** 2).sum())
    return Extrapolated(float(start), 1.0 - missed / spread if spread > 0 else 1.0)


def _distance_of(vectors: np.ndarray, reference: Gaussian) -> float:
    return frechet_distance(Gaussian(vectors.shape[1]).add(vectors), reference)
