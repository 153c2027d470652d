"""The face of what hears sounds for an evaluation. Any class with these names can stand behind `--extractor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from scorer.load import Scorer


class Embedded(NamedTuple):
    """What an extractor makes of some clips."""

    #: (V, D) float32: one row a clip, or all clips' windows one after the other.
    vectors: np.ndarray
    #: (clips, C) float32 of the classes it tells, or None where it tells none.
    logits: np.ndarray | None = None


class Extractor(Protocol):
    """A network with its weights and its own way of preparing sound. A clip's rows never depend on its neighbours."""

    name: str
    weights_sha256: str
    sample_rate_hz: int
    #: What one vector hears; None: the whole clip.
    window_s: float | None
    #: Numbers of a vector.
    dim: int

    def embed(self, waves: Sequence[np.ndarray]) -> Embedded:
        """Mono float32 waves at `sample_rate_hz`, finite, of any length but 0."""
        ...


@runtime_checkable
class TextExtractor(Protocol):
    """An extractor that is a CLAP: its vectors are those of `scorer`, one a clip, and captions can be compared."""

    scorer: Scorer
