"""Optimisers by name, and their state under the parameters' names: a file that explains itself, and fits any number of
workers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import nn

from training.errors import TrainError
from training.lamb import Lamb
from training.settings import OptimizerSettings
from training.whole import part_like, whole

Named = Mapping[str, nn.Parameter]


def make_optimizer(parameters: Iterable[nn.Parameter], settings: OptimizerSettings) -> torch.optim.Optimizer:
    """Its rate is set before each step. Adam adds the decay to the gradient, the others take it off the weights."""
    kinds = {"lamb": Lamb, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    made: torch.optim.Optimizer = kinds[settings.type](
        parameters, lr=0.0, betas=settings.betas, eps=settings.eps, weight_decay=settings.weight_decay
    )
    return made


def state_of(optimizer: torch.optim.Optimizer, named: Named) -> Iterator[tuple[str, torch.Tensor]]:
    """(`<parameter>/<exp_avg ...>`, the whole tensor), one after the other, of a training that has made a step."""
    for name, parameter in named.items():
        for kept, value in sorted(optimizer.state.get(parameter, {}).items()):
            yield f"{name}/{kept}", whole(value).detach()


def load_state(optimizer: torch.optim.Optimizer, named: Named, state: Mapping[str, torch.Tensor]) -> None:
    """TrainError when the state is of other parameters than `named`. An empty one is of a training without a step."""
    kept_of: dict[str, dict[str, torch.Tensor]] = {name: {} for name in named}
    for key, value in state.items():
        name, _, kept = key.rpartition("/")
        if name not in kept_of:
            raise TrainError(f"the optimiser's state is of other parameters: {name!r} does not learn here")
        kept_of[name][kept] = value
    lacking = [name for name, kept in kept_of.items() if not kept]
    if state and lacking:
        raise TrainError(f"the optimiser's state lacks {len(lacking)} parameters, e.g. {lacking[0]!r}")
    for name, values in kept_of.items() if state else ():
        parameter = named[name]
        # Adam counts its steps on the CPU.
        optimizer.state[parameter] = {
            kept: value.clone() if kept == "step" else part_like(value, parameter) for kept, value in values.items()
        }
