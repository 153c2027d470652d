"""The captioner's face, and which class stands behind a name. Imports no torch until something is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from scorer.load import Scorer

EMBEDDED = "embedded"
WEIGHTS = Path(__file__).parent / "weights" / "embedded"


class Metadata(NamedTuple):
    """What the source says of itself; empty where it says nothing."""

    title: str = ""
    description: str = ""
    video_caption: str = ""


class Captioned(NamedTuple):
    text: str
    logprob: float  # mean log probability of the caption's tokens, its end included


class Captioner(Protocol):
    """One sentence per clip. A clip's result never depends on the others of the call."""

    model_id: str
    weights_sha256: str
    sample_rate_hz: int

    def caption(
        self,
        waves: Sequence[np.ndarray],
        *,
        metadata: Sequence[Metadata] | None = None,
        clap_embeddings: np.ndarray | None = None,
        beams: int = 2,
    ) -> list[Captioned]:
        """Float32 mono waves at `sample_rate_hz`; embeddings are computed where they are not given."""


def model_name(captioner: Captioner) -> str:
    """What the `caption_model` column holds: the name and the beginning of the weights' hash."""
    return f"{captioner.model_id}@{captioner.weights_sha256[:12]}"


def load_captioner(
    model: str = EMBEDDED, device: str = "cpu", threads: int = 1, scorer: Scorer | None = None
) -> Captioner:
    """`model`: "embedded" or a folder with the embedded layout. `scorer` lends its audio tower."""
    folder = WEIGHTS if model == EMBEDDED else Path(model)
    if not (folder / "card.json").is_file():
        raise ValueError(
            f"no captioner under {model!r}: available are 'embedded' and a folder with model.safetensors, "
            "tokenizer.json and card.json as captioner.train writes it"
        )
    import torch

    from captioner.embedded import EmbeddedCaptioner

    if device == "cpu":
        torch.set_num_threads(threads)
    return EmbeddedCaptioner(folder, device, scorer)
