"""DPM-Solver++ (Lu et al. 2022) by diffusers, on GenAU's own schedule: 20 to 30 steps instead of 100 to 200.

    sample = dpm(denoise, schedule, start, 25)

Second order, multistep, no noise added. It ends at the noise of time 0, as DDIM does here: with many steps both come to
the same sample.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from genau.ddim import Denoise
from genau.diffusion import Schedule


def dpm(
    denoise: Denoise,
    schedule: Schedule,
    start: torch.Tensor,
    steps: int,
    *,
    on_step: Callable[[], None] | None = None,
) -> torch.Tensor:
    """From noise (B, ...) to a sample. ValueError for step counts that the schedule cannot be cut into."""
    from diffusers import DPMSolverMultistepScheduler

    if not 1 <= steps < schedule.steps:
        raise ValueError(f"DPM-Solver++ takes 1 to {schedule.steps - 1} steps, not {steps}")
    solver = DPMSolverMultistepScheduler(
        num_train_timesteps=schedule.steps, trained_betas=schedule.betas, final_sigmas_type="sigma_min"
    )
    solver.set_timesteps(steps)
    x, state = start, None
    for t in solver.timesteps.tolist():
        t_B = torch.full((len(x),), t, dtype=torch.long, device=x.device)
        noise, state = denoise(x, t_B, state)
        x = solver.step(noise, t, x).prev_sample
        if on_step is not None:
            on_step()
    return x
