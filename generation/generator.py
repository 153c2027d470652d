"""The face of every text-to-audio generator: what the verbs, the page and the evaluation ask of one.

    waves = generator.generate([Prompt("a dog barks"), Prompt("a dog barks", draw=1)], Settings(steps=50))

Several candidates of a prompt are several draws of it: prompts that differ in `draw` alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np


@dataclass(frozen=True)
class Prompt:
    """What shall be heard. Everything random about it follows from (seed, text, draw)."""

    text: str
    #: Which of the sounds that the seed gives for this text.
    draw: int = 0
    #: The name of its file as the reference gives it, for `seeds="name"`.
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How it shall be made. A generator leaves aside what it has no use for."""

    seed: int = 0
    steps: int = 100
    #: How much more than without the prompt; 1: the prompt alone.
    guidance: float = 4.0
    solver: Literal["ddim", "dpm"] = "ddim"
    #: DDIM's share of fresh noise at each step: 0 none, 1 as published figures were made. `dpm` adds none.
    eta: float = 1.0
    #: None: as long as the model makes them.
    duration_s: float | None = None
    #: `name`: the start comes from the MD5 of `Prompt.name`, the draws one after the other, as the reference has it.
    seeds: Literal["prompt", "name"] = "prompt"
    #: Count DDIM's steps as the reference does: other counts than asked, some refused.
    reference_steps: bool = False
    #: Hand the net's state from step to step. None: where its weights were trained so.
    self_conditioning: bool | None = None


#: Told while a call is at work: the share of it that is done, 0 to 1.
OnProgress = Callable[[float], None]


class Generator(Protocol):
    """Makes sounds of texts. The sound of one prompt never depends on the others of the call."""

    model_id: str
    weights_sha256: str
    #: What else its sounds follow from: hashes of decoders and text encoders, precision.
    about: Mapping[str, str]
    sample_rate_hz: int
    longest_s: float
    #: How many are worth being made together.
    clips_at_once: int

    def generate(
        self, prompts: Sequence[Prompt], settings: Settings, on_progress: OnProgress | None = None
    ) -> np.ndarray:
        """(N, samples) float32 in [-1, 1]. GenerationError for settings that it cannot follow."""
        ...


def seed_of_draw(seed: int, prompt: Prompt) -> int:
    """What a random generator of 64 bits begins with for one draw of one prompt."""
    told = f"{seed}\0{prompt.draw}\0{prompt.text}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(told).digest()[:8], "big") >> 1
