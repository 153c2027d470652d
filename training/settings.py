"""The parts of a training recipe that are the same whatever is trained. A model's recipe holds them as its sections.

Each key is explained where it is set, in configs/.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Beta = Annotated[float, Field(ge=0, lt=1)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OptimizerSettings(Section):
    type: Literal["lamb", "adam", "adamw"] = "adamw"
    betas: tuple[Beta, Beta] = (0.9, 0.99)
    eps: float = Field(default=1e-8, gt=0, le=1)
    weight_decay: float = Field(default=0.01, ge=0, le=1)
    #: The gradient is cut to this norm; None: not at all.
    clip_norm: float | None = Field(default=None, gt=0)


class ScheduleSettings(Section):
    """Learning rate over the steps: up to the peak in a line, then as `type` says down to `final_rate`."""

    type: Literal["constant", "cosine"] = "cosine"
    peak_rate: float = Field(gt=0, le=1)
    final_rate: float = Field(default=0.0, ge=0, le=1)
    warmup_steps: int = Field(default=0, ge=0)
    #: The share of the peak that the warm-up begins at.
    warmup_from: float = Field(default=0.002, ge=0, le=1)
    #: The rate stands still for so many steps.
    every_steps: int = Field(default=1, ge=1)
    #: The cosine's end, where it is not the training's own.
    decay_steps: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _goes_down(self) -> ScheduleSettings:
        if self.final_rate > self.peak_rate:
            raise ValueError(f"final_rate ({self.final_rate:g}) must not be above peak_rate ({self.peak_rate:g})")
        return self


class LoopSettings(Section):
    steps: int = Field(ge=1, le=1_000_000_000)
    #: Passes of one step, on each worker, whose gradients are summed.
    accumulate: int = Field(default=1, ge=1, le=4096)
    precision: Literal["float32", "bfloat16"] = "float32"
    #: None: no averaged weights.
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    #: Several workers: ddp, each with the whole net; fsdp, each with a part of it and of the optimiser.
    parallel: Literal["ddp", "fsdp"] = "ddp"
    #: Compute the blocks anew in the backward pass: a third slower, far less memory.
    recompute: bool = False
    compile: bool = False


class KeepSettings(Section):
    """Checkpoints, logs and looks at held-out clips."""

    every_steps: int = Field(default=1000, ge=1)
    last: int = Field(default=3, ge=1, le=1000)
    log_every_steps: int = Field(default=20, ge=1)
    validate_every_steps: int = Field(default=1000, ge=1)
    tensorboard: bool = True


class Execution(Section):
    """Where and how fast. May change between two starts of one run; other `workers` begin the data anew."""

    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    threads: int | None = Field(default=None, ge=1, le=256)
    workers: int = Field(default=1, ge=1, le=10_000)
    cpus_per_worker: float = Field(default=1, gt=0, le=256)
    gpus_per_worker: float = Field(default=0, ge=0, le=1)
    ray_address: str | None = None
    restarts: int = Field(default=3, ge=0, le=1000)


#: Keys of LoopSettings that change how a step is computed and not what it is.
HOW: Any = {"accumulate", "parallel", "recompute", "compile"}
