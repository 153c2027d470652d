"""Published checkpoints into our modules: nothing in a file is run, every unknown and missing tensor is named."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from scorer.clap_weights import fill_module
from scorer.torch_file import State, read_state


def read_weights(path: Path, aside: str = "(?!)") -> tuple[State, State, str]:
    """The model's tensors, those whose name matches `aside`, and the file's SHA-256; WeightsError for no checkpoint.

    A file is a state dict, or has it under `model` or `state_dict`.
    """
    state, sha256 = read_state(path, ("model", "state_dict"))
    kept = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    beside = {name: value for name, value in kept.items() if re.fullmatch(aside, name)}
    return {name: value for name, value in kept.items() if name not in beside}, beside, sha256


def fill(module: nn.Module, state: Mapping[str, torch.Tensor], what: str, device: str) -> nn.Module:
    """Loads every tensor by name and shape (WeightsError), for hearing only."""
    fill_module(module, {name: value.float() for name, value in state.items()}, what)
    return module.eval().requires_grad_(False).to(device)


def by_length(waves: Sequence[np.ndarray], most: int) -> list[list[int]]:
    """Places of waves that can be stacked: of one length, at most so many at a time."""
    places: dict[int, list[int]] = {}
    for place, wave in enumerate(waves):
        places.setdefault(wave.size, []).append(place)
    return [some[first : first + most] for some in places.values() for first in range(0, len(some), most)]


def stacked(waves: Sequence[np.ndarray], device: str) -> torch.Tensor:
    """(B, N) float32."""
    return torch.from_numpy(np.stack(waves).astype(np.float32, copy=False)).to(device)


def on_cpu(tensor: torch.Tensor) -> Any:
    return tensor.float().cpu().numpy()
