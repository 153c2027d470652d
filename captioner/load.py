"""The captioner's face, and which class stands behind a name. Imports no torch until something is loaded."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from annotated_types import Ge

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
    #: other captions. None: as a model trained here was trained; "stripped" for the published one, which is what its
    #: authors' captioning environment (transformers 4.30.2) does.
    tag_spacing: Literal["stripped", "kept"] | None = None
    #: A clip over 10 s: its first window, every window's caption joined with "then", or the window whose caption
    #: the decoder finds likeliest. The reference hears one random window.
    long_clips: Literal["first", "join", "likeliest"] = "first"
    #: Each of the encoder's 32 vectors is repeated 32 times (1024, published) or taken once (32: faster; the paper's
    #: Table G7 has CIDEr 82.7 and 81.9; only for weights trained so). None: as it was trained.
    audio_tokens: Literal[1024, 32] | None = None
    #: The CLAP token from the embedding that the score uses, too (one per clip: LAION's handling of the clip) | from
    #: the levelled, zero-filled window, as the reference makes it (a second pass of the CLAP tower).
    clap_token: Literal["shared", "reference"] = "shared"
    precision: Literal["float32", "bfloat16"] = "float32"
    #: torch.compile, on a GPU.
    compile: bool = False
    #: Clips of one pass. Default: 8 on a CPU, 128 on a GPU. It changes no caption beyond rounding.
    batch: Annotated[int, Ge(1)] | None = None


class Captioner(ABC):
    """One sentence per clip."""

    model_id: str
    weights_sha256: str
    sample_rate_hz: int
    #: Fewer samples cannot be captioned.
    min_samples: int
    #: The CLAP whose embeddings it takes, as the `clap_model` column names it; None: it does not know, and trusts.
    clap_name: str | None

    @abstractmethod
    def encode(
        self,
        waves: Sequence[np.ndarray],
        *,
        metadata: Sequence[Metadata] | None = None,
        clap_embeddings: np.ndarray | None = None,
    ) -> Any:
        """What the decoder attends to: once for any number of beams. Parameters as in `caption`."""

    @abstractmethod
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
        return self.say(self.encode(waves, metadata=metadata, clap_embeddings=clap_embeddings), beams=beams)


def in_one(windows: Sequence[Captioned]) -> Captioned:
    """The captions of a clip's windows as one, the same one in a row said once; the mean of their probabilities."""
    texts = [text for text, _ in groupby(said.text.rstrip(" .") for said in windows)]
    mean = sum(said.logprob for said in windows) / len(windows)
    return Captioned(", then ".join(texts), round(mean, 4))


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
    """The captioner behind a name; CaptionerError or WeightsError when it cannot be had.

    `model`: "embedded" or a folder with the embedded layout; an AutoCap checkpoint (a file, a folder or a repository
    on the Hub that holds autocap-full.ckpt, or what `autocap train` wrote). `scorer` lends the embedded captioner its
    audio tower, and an AutoCap its CLAP if `options.clap` names none.
    """
    import torch

    if device == "cpu":
        torch.set_num_threads(threads)
    folder = WEIGHTS if model == EMBEDDED else Path(model)
    if model != EMBEDDED and not _is_embedded(folder):
        from captioner.autocap.captioner import load_autocap

        return load_autocap(model, device, scorer, options)
    if options not in (None, CaptionerOptions()):
        raise CaptionerError(f"the captioner {model!r} has no options; given: {options}")
    from captioner.embedded import EmbeddedCaptioner

    return EmbeddedCaptioner(folder, device, scorer)


def _is_embedded(folder: Path) -> bool:
    """Whether a folder's card names a small captioner of this project."""
    try:
        card = json.loads((folder / "card.json").read_text())
    except (OSError, ValueError):
        return False
    return isinstance(card, dict) and card.get("kind") == "autorecap-small-captioner"
