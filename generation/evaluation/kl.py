"""Kullback-Leibler divergence of the classes heard in a generated sound from those of the reference of its name.

sum over classes of q log(q / (p + 1e-6)), q the reference's, p the generated sound's; mean over pairs. Two readings of
one network's logits, as AudioLDM's evaluation reports them: softmax (AudioGen's, the one papers print) and sigmoid,
each class by itself, which is no divergence in the strict sense: it may be negative.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np

from generation.errors import GenerationError
from generation.evaluation.classes import sigmoid, softmax
from generation.evaluation.words import some_names

EPSILON = 1e-6


class Divergence(NamedTuple):
    """(pairs,) float64 each, in the order of the names."""

    softmax: np.ndarray
    sigmoid: np.ndarray


def divergence(generated: np.ndarray, reference: np.ndarray) -> Divergence:
    """Logits (N, C) of generated sounds and of their references, row by row."""
    if generated.shape != reference.shape:
        raise ValueError(f"logits of pairs have one shape, not {generated.shape} and {reference.shape}")
    return Divergence(_of(softmax(generated), softmax(reference)), _of(sigmoid(generated), sigmoid(reference)))


def _of(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    log_q = np.log(np.maximum(q, np.finfo(np.float64).tiny))
    return np.asarray((q * (log_q - np.log(p + EPSILON))).sum(axis=1))


def paired(generated: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Both sets' logits by name -> rows of pairs, in the generated sounds' order; GenerationError as `need_pairs`."""
    need_pairs(generated, reference)
    return np.stack(list(generated.values())), np.stack([reference[name] for name in generated])


def need_pairs(generated: Collection[str], reference: Collection[str]) -> None:
    """GenerationError naming the generated sounds without a reference of their name. More references may be there."""
    known = set(reference)
    alone = [name for name in generated if name not in known]
    if alone or not generated:
        raise GenerationError(
            f"KL compares sounds of one name: {len(alone)} of {len(generated)} generated sounds have no reference of "
            f"their name ({some_names(alone)}); name the files alike, or leave kl out of --metrics"
        )
