"""A slow copy of what learns: the mean over the steps, the last ones weighing most (exponential moving average)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

from training.whole import part_like


class Ema:
    """Follows parameters by their names, in float32 whatever they are in; spread over the workers as they are."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self.decay = decay
        self._parameters = dict(parameters)
        self.values = {name: p.detach().float().clone() for name, p in self._parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """After step `step` (from 0). Early on the copy follows faster, or it would keep the start for ever."""
        decay = min(self.decay, (1 + step) / (10 + step))
        now = [self._parameters[name].detach().float() for name in self.values]
        torch._foreach_lerp_(list(self.values.values()), now, 1 - decay)

    def load(self, values: Mapping[str, torch.Tensor]) -> None:
        """From whole tensors."""
        if set(values) != set(self.values):
            raise ValueError("the averaged weights are of other parameters than the ones that learn")
        for name, value in values.items():
            self.values[name].copy_(part_like(value, self.values[name]))

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The net with the averaged weights while the block runs, for measuring and for saving."""
        kept = {name: p.detach().clone() for name, p in self._parameters.items()}
        self._write(self.values)
        try:
            yield
        finally:
            self._write(kept)

    @torch.no_grad()
    def _write(self, values: Mapping[str, torch.Tensor]) -> None:
        for name, parameter in self._parameters.items():
            parameter.copy_(values[name])
