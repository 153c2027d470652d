"""The optimiser loop of the small embedded models: AdamW, warm-up and cosine, bf16, a line of log now and then.

Processes that joined (`join`) train one model together, each on batches of its own, its gradients averaged with the
others': two processes of one thread outrun one of two threads wherever the cores are shared.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import distributed, nn

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
        if distributed.is_initialized():
            average([p.grad for p in kept if p.grad is not None])
        nn.utils.clip_grad_norm_(kept, 1.0)
        optimiser.step()
        schedule.step()
        recent = [*recent[-max(1, steps // 10) :], float(loss.detach())]
        if step % 100 == 99 or step == steps - 1:
            mean = sum(recent[-100:]) / len(recent[-100:])
            log.info("%s step %d/%d loss %.4f %.0f s", name, step + 1, steps, mean, time.monotonic() - begun)
    return sum(recent) / len(recent)


def average(values: list[torch.Tensor]) -> None:
    """The mean over all joined processes, in place."""
    flat = torch.cat([value.flatten() for value in values])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for value, mean in zip(values, torch.split(flat, [v.numel() for v in values]), strict=True):
        value.copy_(mean.view_as(value))


def join(meeting: Path, rank: int, size: int) -> None:
    """Makes this process one of `size` on this machine that train together; `meeting` is a file none has used."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    distributed.init_process_group("gloo", init_method=f"file://{meeting.absolute()}", rank=rank, world_size=size)


def set_up(seed: int) -> None:
    """A training process: one thread, a fixed seed, and its progress told on stderr."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    torch.set_num_threads(1)
    torch.manual_seed(seed)
