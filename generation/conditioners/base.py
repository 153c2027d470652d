"""The face of everything that turns texts into vectors, and several of them side by side.

Some know sounds as well: a CLAP's sound lies where its caption lies, and may stand for it in training.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from generation.errors import GenerationError


class ConditionerError(GenerationError):
    """A text encoder that cannot be loaded or used as asked: which, why, and what to do."""


class Conditioner(Protocol):
    """Texts to vectors. The text "" has one, too: what a generator is given where it is given no prompt.

    Where `independent`, the vector of a text never depends on the others of the call, and may be kept. `hears`: (H,)
    the columns of the vector that a sound can give as well as its caption.
    """

    name: str
    weights_sha256: str
    width: int
    independent: bool
    hears: np.ndarray

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """(N, width) float32."""
        ...

    def hear(self, waves: Sequence[np.ndarray], sample_rate_hz: int) -> np.ndarray:
        """(N, H) float32 of mono float32 waves; zeros behind them are not heard."""
        ...


class Reader:
    """The half of a conditioner that knows no sounds."""

    hears = np.zeros(0, dtype=np.int64)

    def hear(self, waves: Sequence[np.ndarray], sample_rate_hz: int) -> np.ndarray:
        del sample_rate_hz
        return np.zeros((len(waves), 0), dtype=np.float32)


def key_of(conditioner: Conditioner) -> str:
    """What its vectors are kept and told apart by: the name and the beginning of the weights' hash."""
    return f"{conditioner.name}@{conditioner.weights_sha256[:12]}"


class Joined:
    """Several conditioners' vectors side by side, in the order given: CLAP's 512 numbers, then T5's 1,024."""

    def __init__(self, parts: Sequence[Conditioner]) -> None:
        if not parts:
            raise ConditionerError("no text encoder is named; name at least one, for instance 'embedded'")
        self.parts = tuple(parts)
        self.name = "+".join(part.name for part in parts)
        self.weights_sha256 = hashlib.sha256("".join(part.weights_sha256 for part in parts).encode()).hexdigest()
        self.width = sum(part.width for part in parts)
        self.independent = all(part.independent for part in parts)
        starts = np.cumsum([0, *(part.width for part in parts)])
        self.hears = np.concatenate([start + part.hears for start, part in zip(starts, parts, strict=False)])

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        return np.concatenate([part.embed(texts) for part in self.parts], axis=1)

    def hear(self, waves: Sequence[np.ndarray], sample_rate_hz: int) -> np.ndarray:
        return np.concatenate([part.hear(waves, sample_rate_hz) for part in self.parts], axis=1)
