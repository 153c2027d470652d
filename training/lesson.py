"""What the loop (training/loop.py) asks of whatever is trained: a lesson, its turns, and the data it learns from.

    class FitLesson(Lesson[Latents, Ready]):                   # a text-to-audio model: one turn a step
        turns = (Turn("denoise", optimizer=..., schedule=...),)
        def ready(self, clips, device): return Ready(...)      # in a thread; nothing random here
        def loss(self, turn, inputs, step): return Loss(sum_of_the_clips_losses)

A step takes each turn in order, on the same batch: a VAE's discriminator, then the VAE. Only the turn's own parameters
get gradients. What a step draws follows from torch's generators, which the loop seeds by (seed, step, rank).

    the loop: data.batches(place) -> Batch -> lesson.ready -> for each turn: lesson.loss / weight -> backward -> step
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import nn

from training.crew import Crew
from training.settings import OptimizerSettings, ScheduleSettings

#: Where in the data a worker is: whatever JSON holds, mostly a number. None: at its start.
Place = Any

Clips = TypeVar("Clips")
Clips_co = TypeVar("Clips_co", covariant=True)
Inputs = TypeVar("Inputs")


@dataclass(frozen=True)
class Batch(Generic[Clips_co]):
    """What one worker learns from in one pass."""

    clips: Clips_co
    count: int  # of clips
    place: Place  # where the next batch begins
    skipped: Mapping[str, int] = field(default_factory=dict)  # clips that were left out on the way, by reason


class Data(Protocol[Clips_co]):
    """Batches without end, the same whenever they are asked for from the same place."""

    clips: int  # of one pass over all of it
    batch_clips: int  # of one batch

    def batches(self, place: Place, *, rank: int, world: int) -> Iterator[Batch[Clips_co]]: ...


@dataclass(frozen=True)
class Turn:
    """One of the losses that take turns in a step, and how its parameters learn."""

    name: str
    optimizer: OptimizerSettings
    schedule: ScheduleSettings
    #: Names of `net`'s parameters that learn, with `*`. No parameter may learn in two turns.
    learns: tuple[str, ...] = ("*",)

    def takes(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self.learns)


@dataclass(frozen=True)
class Loss:
    """Sums over the batch: the loop divides by the weight of all workers' batches of the step."""

    sum: torch.Tensor  # scalar, float32, with its gradient
    parts: Mapping[str, torch.Tensor] = field(default_factory=dict)  # scalars to be told beside it, detached


@dataclass(frozen=True)
class Ready(Generic[Inputs]):
    """A batch on the device. `weight`: what its loss is summed over (clips, tokens)."""

    inputs: Inputs
    weight: float


@dataclass(frozen=True)
class Sound:
    wave: np.ndarray  # mono float32 in [-1, 1]
    sample_rate_hz: int


@dataclass
class Validation:
    """What a look at held-out clips brings. Sounds, images and texts are the first worker's alone."""

    measures: dict[str, float]
    sounds: dict[str, Sound] = field(default_factory=dict)
    images: dict[str, np.ndarray] = field(default_factory=dict)  # (height, width, 3) uint8
    texts: list[tuple[str, str]] = field(default_factory=list)  # (said, wanted)


class Lesson(nn.Module, ABC, Generic[Clips, Inputs]):
    """Everything that knows what is trained. All of it is moved to the worker's device; what is not under `net` stays
    as it is: a frozen encoder, a perceptual loss."""

    #: What learns, and is in a checkpoint under its own names. Its buffers are saved, too.
    net: nn.Module
    turns: Sequence[Turn]
    #: Forward and backward, as the papers count: what MFU is told from. None: not known.
    flops_per_clip: float | None = None

    @abstractmethod
    def ready(self, clips: Clips, device: torch.device) -> Ready[Inputs]:
        """In a thread, while the step before is computed: nothing random, no gradients."""

    @abstractmethod
    def loss(self, turn: str, inputs: Inputs, step: int) -> Loss:
        """Under autocast, if the run has it. `step` from 0.

        Call `net` as a whole (`self.net(...)`): FSDP needs it. Several workers need every parameter that learns in this
        turn to get a gradient from every batch: what is left out of one is to be multiplied by 0.
        """

    def forward(self, turn: str, inputs: Inputs, step: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """`loss` as DistributedDataParallel can follow it."""
        loss = self.loss(turn, inputs, step)
        return loss.sum, dict(loss.parts)

    def begin(self, inputs: Inputs, crew: Crew) -> None:
        """Once, before the first step of all, with its first batch: buffers that follow from data (a latent scale)."""

    def blocks(self) -> Sequence[nn.Module]:
        """Equal parts of `net`: what is compiled, computed anew in the backward pass, and sharded by FSDP. Nobody may
        write into what they give. Each of a class with a `forward` of its own: torch.compile silently leaves torch's
        own containers (Sequential) as they are."""
        return ()

    def validate(self, step: int, crew: Crew) -> Validation | None:
        """On every worker, in eval mode, without gradients, with the averaged weights. Measures must be the same on all
        of them (`crew.summed`)."""
        return None

    def published(self, name: str) -> str | None:
        """Under which name a tensor of `net` is in model.safetensors; None: it is for going on alone (a discriminator).

        Averaged are the parameters that are published.
        """
        return name

    def card(self, step: int) -> dict[str, Any]:
        """What card.json says of the weights after so many steps; the loop adds `weights_sha256`."""
        return {}

    def write_beside(self, folder: Path) -> None:
        """Other files of a model folder (a tokenizer)."""
