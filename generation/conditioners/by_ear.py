"""The sound in its caption's place: in training some of the clips are heard by the encoders that can, and not read.

    rows = by_ear(len(clips), 0.31, rng)                # which clips
    text = told(conditioner, captions, waves, rows, 16_000)

A caption says little of a sound; the sound's vector says more, and lies where captions' vectors lie. What only reads
(T5) goes on reading.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from generation.conditioners.base import Conditioner


def by_ear(count: int, share: float, rng: np.random.Generator | None) -> np.ndarray:
    """(count,) bool, each clip by itself; nothing is drawn where the share is 0 or chance is left out."""
    if rng is None or share == 0:
        return np.zeros(count, dtype=bool)
    return rng.random(count) < share


def told(
    conditioner: Conditioner, captions: Sequence[str], waves_BN: np.ndarray, heard_B: np.ndarray, sample_rate_hz: int
) -> np.ndarray:
    """(B, width) float32: the captions' vectors, with what is heard in them where `heard_B` is true."""
    vectors = conditioner.embed(captions)
    rows = np.flatnonzero(heard_B)
    if rows.size:
        vectors[np.ix_(rows, conditioner.hears)] = conditioner.hear(list(waves_BN[rows]), sample_rate_hz)
    return vectors
