"""Which sounds of two sets are compared: as many of one as of the other, unless all are asked for.

Every distance between sets depends on how many sounds they have, so of the larger set a sample is taken: the sounds of
the smaller set's names, and where it has not all of them a seeded draw of the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Chosen(NamedTuple):
    """Names of each side, sorted; `how` says in words what was left out, or is empty."""

    generated: list[str]
    reference: list[str]
    how: str


def choose(generated: Sequence[str], reference: Sequence[str], *, equal: bool = True, seed: int = 0) -> Chosen:
    """Names of both sides -> those that are compared."""
    if not equal or len(generated) == len(reference):
        return Chosen(sorted(generated), sorted(reference), "")
    if len(generated) > len(reference):
        some, how = _of(generated, reference, seed)
        return Chosen(some, sorted(reference), f"{len(some)} of {len(generated)} generated sounds: {how}")
    some, how = _of(reference, generated, seed)
    return Chosen(sorted(generated), some, f"{len(some)} of {len(reference)} reference sounds: {how}")


def _of(larger: Sequence[str], smaller: Sequence[str], seed: int) -> tuple[list[str], str]:
    """As many of `larger` as there are in `smaller`, those of its names first."""
    known = set(smaller)
    pairs = [name for name in sorted(larger) if name in known]
    others = [name for name in sorted(larger) if name not in known]
    drawn = np.random.default_rng(seed).permutation(len(others))[: len(smaller) - len(pairs)]
    told = [f"{len(pairs)} of the same names"] if pairs else []
    told += [f"{len(drawn)} drawn with seed {seed}"] if len(drawn) else []
    return sorted([*pairs, *(others[place] for place in drawn)]), ", ".join(told)
