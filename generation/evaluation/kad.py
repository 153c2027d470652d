"""Kernel Audio Distance: the squared maximum mean discrepancy of two sets of vectors, Gaussian kernel, times 100.

Unbiased in the number of vectors, so that sets of a few hundred compare with larger ones, and it takes no set for a
normal distribution (Chung et al. 2025, arXiv 2502.15602). It may fall a little below 0. The kernel's width is the
median distance between vectors of the reference: a figure belongs to its reference set.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

SCALE = 100.0
#: Vectors whose distances give the median; of more, so many are drawn.
MEDIAN_OF = 2000
_BLOCK = 1024


def kernel_distance(vectors: np.ndarray, reference: np.ndarray, *, seed: int = 0) -> float:
    """`vectors` (M, D) and `reference` (N, D), at least two each, else ValueError."""
    if min(len(vectors), len(reference)) < 2:
        raise ValueError("a kernel distance needs two vectors of each set")
    ours, theirs = np.asarray(vectors, np.float64), np.asarray(reference, np.float64)
    width = median_distance(theirs, seed)
    if width == 0.0:
        raise ValueError("all vectors of the reference are alike: the kernel has no width")
    within = _kernel_sum(ours, ours, width) - len(ours)
    within_theirs = _kernel_sum(theirs, theirs, width) - len(theirs)
    return SCALE * (
        within / (len(ours) * (len(ours) - 1))
        + within_theirs / (len(theirs) * (len(theirs) - 1))
        - 2.0 * _kernel_sum(ours, theirs, width) / (len(ours) * len(theirs))
    )


def median_distance(vectors: np.ndarray, seed: int = 0) -> float:
    """Of all pairs of different vectors, or of a seeded draw of MEDIAN_OF vectors."""
    if len(vectors) > MEDIAN_OF:
        vectors = vectors[np.random.default_rng(seed).permutation(len(vectors))[:MEDIAN_OF]]
    squared = np.concatenate(list(_squared(vectors, vectors)))
    return float(np.sqrt(np.median(squared[np.triu_indices(len(vectors), 1)])))


def _kernel_sum(one: np.ndarray, other: np.ndarray, width: float) -> float:
    return sum(float(np.exp(-part / (2.0 * width**2)).sum()) for part in _squared(one, other))


def _squared(one: np.ndarray, other: np.ndarray) -> Iterator[np.ndarray]:
    """Squared distances of a block of rows of `one` to all of `other`."""
    lengths = (other**2).sum(axis=1)
    for first in range(0, len(one), _BLOCK):
        part = one[first : first + _BLOCK]
        yield np.maximum((part**2).sum(axis=1)[:, None] + lengths - 2.0 * part @ other.T, 0.0)
