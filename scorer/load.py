"""The scorer's face, and which class stands behind a name. Imports no torch until something is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal, Protocol

import numpy as np
from annotated_types import Ge

EMBEDDED = "embedded"
WEIGHTS = Path(__file__).parent / "weights" / "embedded"

#: `laion-clap:FILE` hears and reads through LAION's own package instead of this project's code.
LAION_PACKAGE = "laion-clap:"

#: The paper's cuts, made for LAION's CLAP.
PUBLISHED_THRESHOLDS = {"AutoReCapXL": 0.1, "MQ": 0.4, "HQ": 0.5}

#: The checkpoint that the paper's cuts were most likely made with; the paper says only "LAION CLAP".
PUBLISHED_SCORER = "music_speech_audioset_epoch_15_esc_89.98"


@dataclass(frozen=True, kw_only=True)
class ClapOptions:
    """How a published CLAP is run. The embedded scorer takes only `weights_sha256`; None = as that model is released.

    Two sets of options give two scales of scores: what differs from the default is part of the model's name.
    """

    #: Refuse weights with another SHA-256. A prefix of at least 12 digits is enough.
    weights_sha256: str | None = None
    #: Folder or Hub name of the tokenizer; LAION's .pt files have none inside: roberta-base.
    tokenizer: str | None = None
    #: A clip under 10 s: repeated whole times, then zeros | repeated to the end | zeros.
    filling: Literal["repeatpad", "repeat", "pad"] | None = None
    #: A clip over 10 s: all of it in even windows | its middle 10 s | LAION's fusion (fusion checkpoints only).
    long_clips: Literal["windows", "crop", "fusion"] = "windows"
    #: Samples rounded to 16 bits first, as LAION's package does and transformers does not.
    int16_rounding: bool | None = None
    #: bfloat16 is for GPUs (and CPUs with such instructions): faster, scores change in the third decimal.
    precision: Literal["float32", "bfloat16"] = "float32"
    #: Clips of one pass. Default: 1 on a CPU, 64 on a GPU. It changes no score beyond rounding.
    batch: Annotated[int, Ge(1)] | None = None

    def changed(self) -> dict[str, object]:
        """What is set to something else than the default and may move a score."""
        free = ("weights_sha256", "tokenizer", "batch")
        default = asdict(ClapOptions())
        return {name: value for name, value in asdict(self).items() if value != default[name] and name not in free}


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


class ScorerError(ValueError):
    """A scorer that cannot be loaded as asked: which, why, and what to do."""


def model_name(scorer: Scorer) -> str:
    """What the `clap_model` column holds: the name and the beginning of the weights' hash."""
    return f"{scorer.model_id}@{scorer.weights_sha256[:12]}"


def load_scorer(
    model: str = EMBEDDED, device: str = "cpu", threads: int = 1, options: ClapOptions | None = None
) -> Scorer:
    """The scorer behind a name; ScorerError or WeightsError when it cannot be had.

    `model`: "embedded" or a folder with the embedded layout; a transformers ClapModel (folder or Hub name); one of
    LAION's .pt files; `laion-clap:FILE.pt` for the same through LAION's package (in an environment of its own).
    """
    import torch

    if device == "cpu":
        torch.set_num_threads(threads)
    options = options or ClapOptions()
    scorer = _load(model, device, options)
    _check_hash(model, scorer, options.weights_sha256)
    return scorer


def _load(model: str, device: str, options: ClapOptions) -> Scorer:
    if model == EMBEDDED or (Path(model) / "card.json").is_file():
        from scorer.embedded import EmbeddedScorer

        if options.changed():
            raise ScorerError(f"the scorer {model!r} has no options but weights_sha256; given: {options.changed()}")
        return EmbeddedScorer(WEIGHTS if model == EMBEDDED else Path(model), device)
    if model.startswith(LAION_PACKAGE):
        from scorer.laion_package import LaionPackageScorer

        return LaionPackageScorer(Path(model.removeprefix(LAION_PACKAGE)), device, options)
    from scorer.clap import load_hub, load_laion

    return load_laion(Path(model), device, options) if model.endswith(".pt") else load_hub(model, device, options)


def _check_hash(model: str, scorer: Scorer, wanted: str | None) -> None:
    if wanted is None:
        return
    if len(wanted) < 12:
        raise ScorerError(f"weights_sha256 {wanted!r} is too short to name weights: give at least 12 digits")
    if not scorer.weights_sha256.startswith(wanted.lower()):
        raise ScorerError(
            f"the weights of {model!r} have SHA-256 {scorer.weights_sha256}, wanted {wanted}: "
            "another file, or a damaged one; fetch it again or change weights_sha256"
        )
