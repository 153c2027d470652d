"""The captioner's face, and which class stands behind a name. Imports no torch until something is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from scorer.load import ClapOptions, Scorer

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


class CaptionerError(ValueError):
    """A captioner that cannot be loaded as asked: which, why, and what to do."""


@dataclass(frozen=True, kw_only=True)
class CaptionerOptions:
    """How an AutoCap is run. The embedded captioner takes none of them."""

    #: The CLAP that makes the CLAP token, as load_scorer names it (LAION's .pt file); None: embeddings must be given.
    clap: str | None = None
    clap_options: ClapOptions = field(default_factory=ClapOptions)
    #: BART's tokenizer and configuration, a folder or a Hub name; the weights are the checkpoint's.
    bart: str = "facebook/bart-base"
    #: Blanks around the metadata's tags: transformers before 4.34 stripped them, later ones keep them. Other ids,
    #: other captions. "stripped" is what the authors' captioning environment (transformers 4.30.2) does.
    tag_spacing: Literal["stripped", "kept"] = "stripped"
    #: A clip over 10 s: its first window, every window's caption joined with "then", or the window whose caption
    #: the decoder finds likeliest. The reference hears one random window.
    long_clips: Literal["first", "join", "likeliest"] = "first"
    #: Each of the encoder's 32 vectors is repeated 32 times (1024, published) or taken once (32: faster; the paper's
    #: Table G7 has CIDEr 82.7 and 81.9; only for weights trained so).
    audio_tokens: Literal[1024, 32] = 1024
    precision: Literal["float32", "bfloat16"] = "float32"
    #: torch.compile and CUDA graphs, on a GPU.
    compile: bool = False
    #: Clips of one pass. Default: 8 on a CPU, 128 on a GPU. It changes no caption beyond rounding.
    batch: int | None = None


class Captioner(Protocol):
    """One sentence per clip."""

    model_id: str
    weights_sha256: str
    sample_rate_hz: int

    def encode(
        self,
        waves: Sequence[np.ndarray],
        *,
        metadata: Sequence[Metadata] | None = None,
        clap_embeddings: np.ndarray | None = None,
    ) -> Any:
        """What the decoder attends to: once for any number of beams. Parameters as in `caption`."""

    def say(self, encoded: Any, *, beams: int = 2) -> list[Captioned]:
        """The captions of what `encode` made."""

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
    model: str = EMBEDDED,
    device: str = "cpu",
    threads: int = 1,
    scorer: Scorer | None = None,
    options: CaptionerOptions | None = None,
) -> Captioner:
    """`model`: "embedded" or a folder with the embedded layout. `scorer` lends its audio tower."""
    folder = WEIGHTS if model == EMBEDDED else Path(model)
    if not (folder / "card.json").is_file():
        raise CaptionerError(
            f"no captioner under {model!r}: available are 'embedded' and a folder with model.safetensors, "
            "tokenizer.json and card.json as captioner.train writes it"
        )
    if options not in (None, CaptionerOptions()):
        raise CaptionerError(f"the captioner {model!r} has no options; given: {options}")
    import torch

    from captioner.embedded import EmbeddedCaptioner

    if device == "cpu":
        torch.set_num_threads(threads)
    return EmbeddedCaptioner(folder, device, scorer)
