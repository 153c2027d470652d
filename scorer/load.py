"""The scorer's face, and which class stands behind a name. Imports no torch until something is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

EMBEDDED = "embedded"
WEIGHTS = Path(__file__).parent / "weights" / "embedded"


class Scorer(Protocol):
    """Embeds sounds and texts into one space of unit vectors; the score is their dot product.

    The result for one clip or text never depends on the others of the call.
    """

    model_id: str
    weights_sha256: str
    sample_rate_hz: int
    window_s: float
    embedding_dim: int
    preset_thresholds: Mapping[str, float]

    def embed_audio(self, waves: Sequence[np.ndarray]) -> np.ndarray:
        """Float32 mono waves at `sample_rate_hz`, any length -> (B, D) float32 of unit length."""

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        """Texts -> (B, D) float32 of unit length."""


def model_name(scorer: Scorer) -> str:
    """What the `clap_model` column holds: the name and the beginning of the weights' hash."""
    return f"{scorer.model_id}@{scorer.weights_sha256[:12]}"


def load_scorer(model: str = EMBEDDED, device: str = "cpu", threads: int = 1) -> Scorer:
    """`model`: "embedded", a folder with the embedded layout, or a transformers ClapModel (folder or Hub name)."""
    import torch

    if device == "cpu":
        torch.set_num_threads(threads)
    if model == EMBEDDED or (Path(model) / "card.json").is_file():
        from scorer.embedded import EmbeddedScorer

        return EmbeddedScorer(WEIGHTS if model == EMBEDDED else Path(model), device)
    from scorer.hub import HubScorer

    return HubScorer(model, device)
