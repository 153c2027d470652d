"""Tensors that FSDP has spread over the workers: the whole of one, and one's own part of a whole."""

from __future__ import annotations

import torch
from torch import distributed

if distributed.is_available():
    from torch.distributed.tensor import DTensor, distribute_tensor


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """All of it, on every worker; every worker must ask. A tensor that is not spread is given back."""
    if distributed.is_available() and isinstance(tensor, DTensor):
        full: torch.Tensor = tensor.full_tensor()
        return full
    return tensor


def part_like(value: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """`value`, which every worker has whole, on the device of `like` and spread as it is."""
    moved = value.to(like.device)
    if distributed.is_available() and isinstance(like, DTensor):
        return distribute_tensor(moved, like.device_mesh, like.placements, src_data_rank=None)
    return moved
