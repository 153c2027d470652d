"""LAMB (arXiv 1904.00962) as GenAU was trained with it: Adam's step, stretched to each tensor's own size.

m = b1 m + (1 - b1) g            v = b2 v + (1 - b2) g^2          (no bias correction)
u = m / (sqrt(v) + eps) + decay w
w = w - rate * min(|w|, 10) / |u| * u                             (the ratio is 1 where a norm is 0)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

from training.whole import whole

#: Weights of a larger norm than this learn no faster.
MAX_WEIGHT_NORM = 10.0


class Lamb(torch.optim.Optimizer):
    """State of a parameter: `exp_avg`, `exp_avg_sq`, of its shape and dtype. They may be spread by FSDP."""

    def __init__(
        self,
        params: Iterable[torch.nn.Parameter],
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            params: list[torch.Tensor] = [p for p in group["params"] if p.grad is not None]
            if params:
                self._step(params, [p.grad for p in params if p.grad is not None], group)

    def _step(self, params: list[torch.Tensor], grads: list[torch.Tensor], group: dict[str, Any]) -> None:
        means = [self._state(p, "exp_avg") for p in params]
        squares = [self._state(p, "exp_avg_sq") for p in params]
        first, second = group["betas"]
        torch._foreach_mul_(means, first)
        torch._foreach_add_(means, grads, alpha=1 - first)
        torch._foreach_mul_(squares, second)
        torch._foreach_addcmul_(squares, grads, grads, value=1 - second)
        below = torch._foreach_sqrt(squares)
        torch._foreach_add_(below, group["eps"])
        updates = torch._foreach_div(means, below)
        if group["weight_decay"]:
            torch._foreach_add_(updates, params, alpha=group["weight_decay"])
        ratios = map(_trust, torch._foreach_norm(params), torch._foreach_norm(updates))
        for parameter, update, ratio in zip(params, updates, ratios, strict=True):
            parameter.addcmul_(update, ratio, value=-group["lr"])

    def _state(self, parameter: torch.Tensor, name: str) -> torch.Tensor:
        state = self.state[parameter]
        if name not in state:
            state[name] = torch.zeros_like(parameter)
        kept: torch.Tensor = state[name]
        return kept


def _trust(weight_norm: torch.Tensor, update_norm: torch.Tensor) -> torch.Tensor:
    """A scalar on the tensor's device: nothing waits for the GPU."""
    weights, updates = whole(weight_norm).clamp(max=MAX_WEIGHT_NORM), whole(update_norm)
    known = (weights > 0) & (updates > 0)
    return torch.where(known, weights / updates.where(known, torch.ones_like(updates)), torch.ones_like(weights))
