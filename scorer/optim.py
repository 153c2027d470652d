"""The one optimiser loop that every training here uses: AdamW, warm-up and cosine, bf16, a line of log now and then."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable

import torch
from torch import nn

log = logging.getLogger(__name__)


def fit(
    name: str,
    parameters: Iterable[nn.Parameter],
    loss_of_step: Callable[[int], torch.Tensor],
    *,
    steps: int,
    peak_rate: float,
    weight_decay: float = 0.01,
) -> float:
    """Runs `steps` steps; returns the mean loss of the last tenth. `loss_of_step` brings its own batches."""
    kept = [p for p in parameters if p.requires_grad]
    optimiser = torch.optim.AdamW(kept, lr=peak_rate, weight_decay=weight_decay, betas=(0.9, 0.98))
    warm_up = max(1, steps // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda s: min((s + 1) / warm_up, 0.5 + 0.5 * math.cos(math.pi * min(1.0, s / steps))) + 1e-3,
    )
    recent: list[float] = []
    begun = time.monotonic()
    for step in range(steps):
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of_step(step)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(kept, 1.0)
        optimiser.step()
        schedule.step()
        recent = [*recent[-max(1, steps // 10) :], float(loss.detach())]
        if step % 100 == 99 or step == steps - 1:
            mean = sum(recent[-100:]) / len(recent[-100:])
            log.info("%s step %d/%d loss %.4f %.0f s", name, step + 1, steps, mean, time.monotonic() - begun)
    return sum(recent) / len(recent)


def set_up(seed: int) -> None:
    """A training process: one thread, a fixed seed, and its progress told on stderr."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    torch.set_num_threads(1)
    torch.manual_seed(seed)
