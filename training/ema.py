"""A slow copy of what learns: the mean over the steps, the last ones weighing most (exponential moving average)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn


class Ema:
    """Follows every parameter of `net` that learns, in float32."""

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.decay = decay
        self._net = net
        self.values = {name: p.detach().float().clone() for name, p in net.named_parameters() if p.requires_grad}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """After step `step` (from 0). Early on the copy follows faster, or it would keep the start for ever."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, parameter in self._net.named_parameters():
            if name in self.values:
                self.values[name].lerp_(parameter.detach().float(), 1 - decay)

    def load(self, values: Mapping[str, torch.Tensor]) -> None:
        if set(values) != set(self.values):
            raise ValueError("the averaged weights are of other parameters than the ones that learn")
        for name, value in values.items():
            self.values[name].copy_(value)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The net with the averaged weights while the block runs, for measuring and for saving."""
        learning = {name: p for name, p in self._net.named_parameters() if name in self.values}
        kept = {name: p.detach().clone() for name, p in learning.items()}
        _write(learning, self.values)
        try:
            yield
        finally:
            _write(learning, kept)


@torch.no_grad()
def _write(parameters: Mapping[str, nn.Parameter], values: Mapping[str, torch.Tensor]) -> None:
    for name, parameter in parameters.items():
        parameter.copy_(values[name])
