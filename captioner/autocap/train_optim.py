"""Optimiser and learning rate of a training, and the optimiser's state under the parameters' names."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from captioner.autocap.train_recipe import Optimizer

#: What Adam keeps of a parameter.
_KEPT = ("step", "exp_avg", "exp_avg_sq")


def make_optimizer(net: nn.Module, recipe: Optimizer) -> torch.optim.Optimizer:
    """Adam with the decay added to the gradient (the released code), or AdamW with it taken off the weights."""
    kind: Any = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe.type]
    learning = [p for p in net.parameters() if p.requires_grad]
    made: torch.optim.Optimizer = kind(
        learning, lr=recipe.peak_rate, betas=recipe.betas, eps=recipe.eps, weight_decay=recipe.weight_decay
    )
    return made


def rate(recipe: Optimizer, step: int, steps: int, steps_per_epoch: int) -> float:
    """Learning rate of step `step` (from 0) of `steps`: linear to the peak, then half a cosine down to 0."""
    warm_up = min(round(recipe.warmup_epochs * steps_per_epoch), steps - 1)
    if step < warm_up:
        return recipe.peak_rate * (step + 1) / (warm_up + 1)
    way = (step - warm_up) / max(1, steps - warm_up)
    return recipe.peak_rate * 0.5 * (1 + math.cos(math.pi * way))


def set_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = value


def optimizer_state(optimizer: torch.optim.Optimizer, net: nn.Module) -> dict[str, torch.Tensor]:
    """`<parameter>/<exp_avg …>` -> tensor, on the CPU: names, not places in a list, so that a file explains itself."""
    state = {}
    for name, parameter in net.named_parameters():
        for kept in _KEPT:
            if parameter in optimizer.state:
                state[f"{name}/{kept}"] = optimizer.state[parameter][kept].detach().cpu().clone()
    return state


def load_optimizer_state(optimizer: torch.optim.Optimizer, net: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """ValueError when the state is of other parameters than the ones that learn."""
    learning = {name: p for name, p in net.named_parameters() if p.requires_grad}
    wanted = {f"{name}/{kept}" for name in learning for kept in _KEPT}
    if state and set(state) != wanted:
        strange = sorted(wanted ^ set(state))
        raise ValueError(f"the optimiser's state is of other parameters ({len(strange)} differ, e.g. {strange[0]})")
    for name, parameter in learning.items():
        if f"{name}/step" in state:
            moved = {kept: state[f"{name}/{kept}"].to(parameter.device) for kept in _KEPT[1:]}
            optimizer.state[parameter] = {"step": state[f"{name}/step"].clone(), **moved}
