"""ROUGE-L (Lin 2004) as coco-caption takes it: beta 1.2, best precision and best recall over the references."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from captioner.metrics.ngrams import Tokens

BETA = 1.2


def rouge_l(candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> np.ndarray:
    """(clips,) float64, 0 to 1; the corpus's ROUGE-L is their mean. Every clip needs a reference.

    An empty caption counts as one empty word, as coco-caption splits it.
    """
    pairs = zip(candidates, references, strict=True)
    return np.array([_f_measure(candidate or [""], [some or [""] for some in theirs]) for candidate, theirs in pairs])


def _f_measure(candidate: Tokens, references: Sequence[Tokens]) -> float:
    common = [longest_common(candidate, reference) for reference in references]
    precision = max(common) / len(candidate)
    recall = max(length / len(reference) for length, reference in zip(common, references, strict=True))
    if precision == 0:
        return 0.0
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)


def longest_common(one: Tokens, other: Tokens) -> int:
    """Length of the longest common subsequence, a row of the table at a time as the bits of a number (Hyyrö 2004)."""
    places: dict[str, int] = {}
    for at, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << at
    full = (1 << len(one)) - 1
    row = full  # a 0 where the length grows
    for word in other:
        same = row & places.get(word, 0)
        row = (row + same | row - same) & full
    return len(one) - row.bit_count()
