"""The processes that train together: which one this is, and the few things that they tell each other.

Ray Train joins those that it starts in torch.distributed, `joined_from_env` those of torchrun; one process alone needs
none of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed, nn


@dataclass(frozen=True)
class Crew:
    rank: int
    world: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Logs, measures and writes."""
        return self.rank == 0

    def summed(self, *values: float) -> list[float]:
        """Each number's sum over all processes."""
        if self.world == 1:
            return list(values)
        told = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(told)
        return [float(value) for value in told]

    def gathered(self, value: Any) -> list[Any]:
        """Everybody's value, in order of rank."""
        if self.world == 1:
            return [value]
        out: list[Any] = [None] * self.world
        distributed.all_gather_object(out, value)
        return out

    def wait(self) -> None:
        if self.world > 1:
            distributed.barrier()

    def joined(self, module: nn.Module, *, buffers: bool) -> nn.Module:
        """The module with gradients averaged over all; `buffers`: and rank 0's buffers, where they are learned, too."""
        if self.world == 1:
            return module
        ids = [self.device.index] if self.device.type == "cuda" else None
        joined: nn.Module = nn.parallel.DistributedDataParallel(module, device_ids=ids, broadcast_buffers=buffers)
        return joined


def crew(device: str) -> Crew:
    """This process's place. `device`: auto takes this process's GPU where there is one."""
    joined = distributed.is_available() and distributed.is_initialized()
    rank, world = (distributed.get_rank(), distributed.get_world_size()) if joined else (0, 1)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        device = f"cuda:{torch.cuda.current_device()}"
    return Crew(rank, world, torch.device(device))


@contextmanager
def joined_from_env() -> Iterator[None]:
    """Joined as torchrun's variables say (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT); nothing without
    them, or when the process is joined already."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or not distributed.is_available() or distributed.is_initialized():
        yield
        return
    gpus = torch.cuda.is_available()
    if gpus:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    distributed.init_process_group("nccl" if gpus else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()
