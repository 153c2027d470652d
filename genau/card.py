"""A model folder of GenAU's: model.safetensors and card.json, which says what the tensors are and what they go with.

    write_folder(Path("models/rain"), state, GenauCard(model_id="rain", shape=SMALL, ...))
    card, state = read_folder(Path("models/rain"), GenauCard)

Two kinds: the denoiser ("genau"; its names without any prefix) and the VAE ("genau-vae"). The card holds the SHA-256 of
the tensors: a damaged or exchanged file is refused before it is used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from genau.diffusion import FIRST_BETA, LAST_BETA, STEPS, Prediction, Schedule
from genau.fit import FitShape
from genau.linear_vae import LinearVaeShape
from genau.vae import VaeShape
from generation.conditioners.t5 import Pooling
from scorer.torch_file import State
from scorer.weights import CARD_FILE, MODEL_FILE, WeightsError, sha256_of

#: The vocoder that needs no weights.
GRIFFIN_LIM = "griffin-lim"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class ScheduleCard(_Part):
    """See genau.diffusion.Schedule."""

    steps: int = Field(STEPS, ge=2)
    first_beta: float = Field(FIRST_BETA, gt=0, lt=1)
    last_beta: float = Field(LAST_BETA, gt=0, lt=1)

    def make(self) -> Schedule:
        return Schedule(self.steps, self.first_beta, self.last_beta)


class ConditionerCard(_Part):
    """One of the text encoders side by side: as generation.conditioners.load names it, its weights, and how it reads.

    None: as that kind reads where nothing is said, or it has no such choice.
    """

    name: str
    width: int = Field(ge=1)
    weights_sha256: str
    pooling: Pooling | None = None
    tokenizer: str | None = None


class VaeRef(_Part):
    """The VAE of the latents that the denoiser was trained on: "embedded", a folder or a file."""

    model: str
    weights_sha256: str


class GenauCard(_Part):
    """What there is to know about a denoiser besides its tensors."""

    kind: Literal["genau"] = "genau"
    model_id: str
    weights_sha256: str = ""
    shape: FitShape
    schedule: ScheduleCard = ScheduleCard()
    #: What it says of noised latents.
    prediction: Prediction = "noise"
    #: Latents are multiplied by it before noise is added, divided after.
    scale_factor: float = Field(gt=0, allow_inf_nan=False)
    #: Data sets' numbers, and that of "none of them" (None: the last), see generation.conditioners.datasets.
    datasets: dict[str, int] = {}
    unconditional: int | None = None
    #: Whose manner a prompt is generated in, where nobody says otherwise; None: none of them.
    dataset: str | None = None
    conditioners: tuple[ConditionerCard, ...]
    vae: VaeRef
    vocoder: str = GRIFFIN_LIM
    #: Whether latent tokens were handed from one pass to the next while it was trained.
    self_conditioning: bool = False
    step: int = Field(0, ge=0)
    recipe: dict[str, Any] = {}


class VaeCard(_Part):
    """What there is to know about a VAE besides its tensors; how it was trained and measured may stand beside it."""

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())

    kind: Literal["genau-vae"] = "genau-vae"
    model_id: str
    weights_sha256: str = ""
    shape: LinearVaeShape | VaeShape = Field(union_mode="left_to_right")
    vocoder: str = GRIFFIN_LIM


Card = TypeVar("Card", GenauCard, VaeCard)


def write_folder(folder: Path, state: Mapping[str, torch.Tensor], card: Card) -> Card:
    """Puts the folder in place whole or not at all; returns the card with the tensors' SHA-256 in it."""
    from safetensors.torch import save_file

    from training.checkpoint import put_folder

    written = card

    def write(making: Path) -> None:
        nonlocal written
        save_file({name: value.detach().cpu().contiguous() for name, value in state.items()}, making / MODEL_FILE)
        (making / MODEL_FILE).chmod(0o644)  # safetensors writes for the owner only
        written = card.model_copy(update={"weights_sha256": sha256_of(making / MODEL_FILE)})
        (making / CARD_FILE).write_text(json.dumps(written.model_dump(mode="json"), indent=2) + "\n")

    put_folder(folder, write)
    return written


def read_card(folder: Path, kind: type[Card]) -> Card:
    """The card alone. WeightsError where it is none of this kind."""
    path = folder / CARD_FILE
    try:
        return kind.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise WeightsError(f"{folder} has no {CARD_FILE}: not a model folder of this project") from None
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'it'}: {fault['msg']}" for fault in error.errors()[:8]
        )
        raise WeightsError(f"{path} is no card of a {kind.model_fields['kind'].default} model: {faults}") from error


def read_folder(folder: Path, kind: type[Card]) -> tuple[Card, State]:
    """Card and tensors. WeightsError for another kind, a damaged file, or one that the card does not name."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    card, path = read_card(folder, kind), folder / MODEL_FILE
    try:
        sha256 = sha256_of(path)
        if sha256 != card.weights_sha256:
            raise WeightsError(f"{path} has SHA-256 {sha256}, its card says {card.weights_sha256}: fetch it again")
        return card, load_file(path)
    except FileNotFoundError:
        raise WeightsError(f"{folder} has no {MODEL_FILE}") from None
    except SafetensorError as error:
        raise WeightsError(f"{path} cannot be read as safetensors: {error}") from error
