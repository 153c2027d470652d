"""The noise schedule, noising, and the training loss: a thousand steps, the noise is predicted (Ho et al. 2020), or
the velocity between noise and clean latents (Salimans & Ho 2022).

    noised = schedule.noised(clean, noise, t_B)
    losses_B = losses(net(noised, ...), schedule.target("noise", clean, noise, t_B))
    noise = schedule.noise_told("velocity", said, noised, t_B)

Betas are the squares of evenly spaced roots, as latent diffusion has them; the paper's ends are 0.0015 and 0.0195.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch.nn import functional as fn

STEPS = 1000
FIRST_BETA, LAST_BETA = 0.0015, 0.0195


Prediction = Literal["noise", "velocity"]


class Schedule:
    """alphas_cumprod: (STEPS,) float32, made in double precision; the share of the signal's power that is left.

    `betas`: (STEPS,) float64, the share of it that each step takes.
    """

    def __init__(self, steps: int = STEPS, first_beta: float = FIRST_BETA, last_beta: float = LAST_BETA) -> None:
        betas = np.linspace(first_beta**0.5, last_beta**0.5, steps) ** 2
        self.steps, self.betas = steps, betas
        self.alphas_cumprod = torch.from_numpy(np.cumprod(1.0 - betas).astype(np.float32))

    def noised(self, clean: torch.Tensor, noise: torch.Tensor, t_B: torch.Tensor) -> torch.Tensor:
        """The clean latents (B, ...) with as much noise as belongs to their times."""
        signal = self._at(t_B, clean)
        return signal.sqrt() * clean + (1 - signal).sqrt() * noise

    def clean(self, noised: torch.Tensor, noise: torch.Tensor, t_B: torch.Tensor) -> torch.Tensor:
        """What `noised` was without this noise."""
        signal = self._at(t_B, noised)
        return (noised - (1 - signal).sqrt() * noise) / signal.sqrt()

    def target(
        self, prediction: Prediction, clean: torch.Tensor, noise: torch.Tensor, t_B: torch.Tensor
    ) -> torch.Tensor:
        """What the net is to say of the noised latents."""
        if prediction == "noise":
            return noise
        signal = self._at(t_B, clean)
        return signal.sqrt() * noise - (1 - signal).sqrt() * clean

    def noise_told(
        self, prediction: Prediction, said: torch.Tensor, noised: torch.Tensor, t_B: torch.Tensor
    ) -> torch.Tensor:
        """The noise in `noised` by what a net has said of it."""
        if prediction == "noise":
            return said
        signal = self._at(t_B, noised)
        return signal.sqrt() * said + (1 - signal).sqrt() * noised

    def _at(self, t_B: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        found = self.alphas_cumprod.to(like.device)[t_B].to(like.dtype)
        return found.view(-1, *[1] * (like.ndim - 1))


def losses(said: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """(B,), the mean squared error of each item; training takes their mean."""
    return fn.mse_loss(said.float(), target.float(), reduction="none").flatten(1).mean(dim=1)


def seed_of(name: str) -> int:
    """The reference's seed of an output file's name: its MD5 modulo 2^32."""
    return int(hashlib.md5(name.encode(), usedforsecurity=False).hexdigest(), 16) % 2**32


def start_noise(seed: int, candidates: int, shape: Sequence[int]) -> torch.Tensor:
    """(candidates, *shape), drawn one after the other from torch's CPU generator: the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randn(tuple(shape), generator=generator) for _ in range(candidates)])
