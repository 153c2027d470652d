"""One turn of a lesson: its parameters, their optimiser, and their share in a step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from training.crew import Crew
from training.errors import TrainError
from training.lesson import Lesson, Ready, Turn
from training.optim import make_optimizer
from training.parallel import alone, compiling, join
from training.schedule import rate, set_rate
from training.settings import LoopSettings
from training.whole import whole

#: A step whose gradient is not finite is left out; so many in a row are a fault.
MAX_BAD_STEPS = 10


@dataclass(frozen=True)
class Learned:
    """What a turn of a step has to tell. Losses are means over all workers' batches."""

    numbers: dict[str, float]  # loss, rate, grad_norm, and the lesson's own parts
    finite: bool  # else nothing was learned


class Learner:
    def __init__(
        self, lesson: Lesson[Any, Any], turn: Turn, loop: LoopSettings, crew: Crew, bad_steps: int = 0
    ) -> None:
        self.lesson, self.turn, self._loop, self._crew = lesson, turn, loop, crew
        learning = {name: p for name, p in lesson.net.named_parameters() if p.requires_grad}
        self.parameters = {name: p for name, p in learning.items() if turn.takes(name)}
        if not self.parameters:
            raise TrainError(f"{turn.name}: no parameter is called {' or '.join(map(repr, turn.learns))}")
        self.optimizer = make_optimizer(self.parameters.values(), turn.optimizer)
        self._others = [p for name, p in learning.items() if name not in self.parameters]
        with _Still(self._others):
            self._joined = join(lesson, loop, crew)
        self.bad_steps = bad_steps

    def learn(self, parts: Sequence[Ready[Any]], all_weight: float, step: int) -> Learned:
        """One optimiser step from this worker's passes, whose weights with the other workers' are `all_weight`."""
        pace = rate(self.turn.schedule, step, self._loop.steps)
        set_rate(self.optimizer, pace)
        with _Still(self._others), compiling(self._loop.compile):
            sums = self._backward(parts, all_weight, step)
        limit = self.turn.optimizer.clip_norm or math.inf
        norm = float(whole(nn.utils.clip_grad_norm_(self.parameters.values(), limit)))
        finite = math.isfinite(norm)
        if finite:
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        names = sorted(sums)
        totals = self._crew.summed(*torch.stack([sums[name] for name in names]).tolist())
        means = {name: total / all_weight for name, total in zip(names, totals, strict=True)}
        self.bad_steps = 0 if finite else self.bad_steps + 1
        return Learned({"loss": means.pop("loss"), "rate": pace, "grad_norm": norm, **means}, finite)

    def check(self, step: int) -> None:
        """All workers see the same norm: all of them stop."""
        if self.bad_steps == MAX_BAD_STEPS:
            raise TrainError(
                f"step {step}, {self.turn.name}: the gradient of {MAX_BAD_STEPS} steps in a row was not finite; take a "
                "lower peak_rate, or precision: float32"
            )

    def _backward(self, parts: Sequence[Ready[Any]], all_weight: float, step: int) -> dict[str, torch.Tensor]:
        """Gradients of the mean over all workers' parts; the sums of this worker's losses."""
        sums: dict[str, torch.Tensor] = {}
        for at, part in enumerate(parts):
            last = at == len(parts) - 1
            with nullcontext() if last else alone(self._joined):
                with torch.autocast(self._crew.device.type, torch.bfloat16, enabled=self._loop.precision == "bfloat16"):
                    loss, others = self._joined(self.turn.name, part.inputs, step)
                # Workers' gradients are averaged: times `world` they are summed.
                (loss * (self._crew.world / all_weight)).backward()  # type: ignore[no-untyped-call]
            for name, value in {**others, "loss": loss}.items():
                sums[name] = value.detach().double() + sums.get(name, 0.0)
        return sums


class _Still:
    """While the block runs these parameters ask for no gradient: another turn's."""

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self._parameters = parameters

    def __enter__(self) -> None:
        for parameter in self._parameters:
            parameter.requires_grad_(False)

    def __exit__(self, *_: object) -> None:
        for parameter in self._parameters:
            parameter.requires_grad_(True)
