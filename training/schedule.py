"""The learning rate of a step."""

from __future__ import annotations

import math

import torch

from training.settings import ScheduleSettings


def rate(settings: ScheduleSettings, step: int, steps: int) -> float:
    """Of step `step` (from 0) of a training of `steps`."""
    at = step - step % settings.every_steps
    if at < settings.warmup_steps:
        begun = settings.warmup_from
        return settings.peak_rate * (begun + (1 - begun) * at / settings.warmup_steps)
    if settings.type == "constant":
        return settings.peak_rate
    end = settings.decay_steps or steps
    way = min(1.0, (at - settings.warmup_steps) / max(1, end - settings.warmup_steps))
    return settings.final_rate + (settings.peak_rate - settings.final_rate) * 0.5 * (1 + math.cos(math.pi * way))


def set_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = value
