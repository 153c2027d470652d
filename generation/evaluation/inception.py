"""Inception Score: high where each sound is clearly of some class and the set has many classes. Needs no reference.

exp(mean over sounds of KL(p(y|x) || p(y))), p a softmax over the extractor's classes, as AudioLDM's evaluation computes
it: the sounds are shuffled (seed 2020), cut into ten parts, and the ten scores' mean and deviation are reported. A part
of N / 10 sounds cannot score above N / 10: sets compare at equal N.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from generation.evaluation.classes import log_softmax

SPLITS = 10
SEED = 2020


class Inception(NamedTuple):
    """Mean over the parts, and their standard deviation (over the number of parts)."""

    mean: float
    std: float


def inception_score(logits: np.ndarray, *, splits: int = SPLITS, seed: int = SEED) -> Inception:
    """`logits` (N, C), in the order of the sounds' names, where the shuffle starts. ValueError where N < splits."""
    count = len(logits)
    if count < splits:
        raise ValueError(f"an Inception Score of {splits} parts needs {splits} sounds; there are {count}")
    # numpy's old generator: the published numbers were shuffled by it.
    log_p = log_softmax(np.asarray(logits)[np.random.RandomState(seed).permutation(count)])
    edges = [part * count // splits for part in range(splits + 1)]
    scores = [_score(log_p[first:last]) for first, last in pairwise(edges)]
    return Inception(float(np.mean(scores)), float(np.std(scores)))


def _score(log_p: np.ndarray) -> float:
    p = np.exp(log_p)
    # A class that float64 cannot tell from never heard adds nothing.
    log_mean = np.log(np.maximum(p.mean(axis=0), np.finfo(np.float64).tiny))
    return float(np.exp((p * (log_p - log_mean)).sum(axis=1).mean()))
