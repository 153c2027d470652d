"""DDIM sampling (Song et al. 2021), as the reference steps it: at eta 0 the start decides, at 1 each step adds noise.

    steps = ddim_steps(schedule, 100)
    sample = ddim(denoise, schedule, start, steps, eta=0.0)

`denoise(x, t_B, state)` gives the predicted noise (guidance is its business) and what it wants back at the next step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from genau.diffusion import Schedule

Denoise = Callable[[torch.Tensor, torch.Tensor, Any], tuple[torch.Tensor, Any]]


@dataclass(frozen=True)
class DdimStep:
    """One step: at time `t` the signal has the share `alpha` of the power, behind it `alpha_before`."""

    t: int
    alpha: float
    alpha_before: float

    def sigma(self, eta: float) -> float:
        ratio = (1 - self.alpha_before) / (1 - self.alpha) * (1 - self.alpha / self.alpha_before)
        return float(eta * np.sqrt(ratio))


def ddim_times(steps: int, of: int) -> list[int]:
    """Exactly `steps` times of `of`, the first to be used last, evenly spaced from 1 on (from 0 where all are taken).

    The reference divides in whole numbers: 101 to 111 or 251 to 333 of its 1,000 steps end beyond the schedule and
    crash, others give more steps than asked. Where `of` is a multiple of `steps` both are the same.
    """
    if not 1 <= steps <= of:
        raise ValueError(f"a sampler takes 1 to {of} steps, not {steps}")
    if steps == of:
        return list(range(of))
    return [1 + at * of // steps for at in range(steps)]


def reference_times(steps: int, of: int) -> list[int]:
    """As the reference counts them. ValueError where it would crash."""
    times = [at + 1 for at in range(0, of, of // steps)]
    if times[-1] >= of:
        raise ValueError(f"the reference cannot take {steps} steps: its last one lies beyond the schedule")
    return times


def ddim_steps(schedule: Schedule, times: Sequence[int]) -> list[DdimStep]:
    """The steps at these times (ascending); in front of the first the signal is as at time 0."""
    alphas = schedule.alphas_cumprod.numpy()
    before = [float(alphas[0]), *(float(alphas[t]) for t in times[:-1])]
    return [DdimStep(t, float(alphas[t]), earlier) for t, earlier in zip(times, before, strict=True)]


def ddim(
    denoise: Denoise,
    start: torch.Tensor,
    steps: Sequence[DdimStep],
    *,
    eta: float = 0.0,
    noises: Iterator[torch.Tensor] | None = None,
    on_step: Callable[[torch.Tensor, torch.Tensor], None] | None = None,
) -> torch.Tensor:
    """From noise (B, ...) to a sample. `noises`: what eta adds, step by step; fresh ones where none are given."""
    x, state = start, None
    for step in reversed(steps):
        t_B = torch.full((len(x),), step.t, dtype=torch.long, device=x.device)
        noise, state = denoise(x, t_B, state)
        clean = (x - (1 - step.alpha) ** 0.5 * noise) / step.alpha**0.5
        sigma = step.sigma(eta)
        x = step.alpha_before**0.5 * clean + max(1 - step.alpha_before - sigma**2, 0.0) ** 0.5 * noise
        if sigma > 0:
            x = x + sigma * (next(noises) if noises is not None else torch.randn_like(x))
        if on_step is not None:
            on_step(x, clean)
    return x
