"""A checkpoint that PyTorch wrote, as tensors by name. Nothing in it is run: `weights_only`, plus numpy's scalars."""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scorer.weights import WeightsError

State = dict[str, torch.Tensor]


def read_state(path: Path, keys: tuple[str, ...] = ("state_dict",), *, mapped: bool = False) -> tuple[State, str]:
    """What stands under the first of `keys` that is there, or else the whole file; and the file's SHA-256.

    `mapped`: tensors stay in the file until they are used: copy what is kept.
    WeightsError for a file that is missing, damaged, no checkpoint, or that would have to run code to be read.
    """
    if not path.is_file():
        raise WeightsError(f"there is no file {path}")
    loaded = _load(path, mapped=mapped and zipfile.is_zipfile(path))
    inner = loaded
    if isinstance(loaded, Mapping):
        inner = next((loaded[key] for key in keys if key in loaded), loaded)
    if not isinstance(inner, Mapping) or not inner:
        raise WeightsError(f"{path} holds no state_dict")
    strange = [str(name) for name, value in inner.items() if not isinstance(value, torch.Tensor)]
    if strange:
        raise WeightsError(f"{path}: no tensors under {', '.join(strange[:5])}: not a model's checkpoint")
    with path.open("rb") as file:
        return {str(name): value for name, value in inner.items()}, hashlib.file_digest(file, "sha256").hexdigest()


def _load(path: Path, *, mapped: bool) -> Any:
    try:
        with torch.serialization.safe_globals(_plain_numpy()):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        first = str(error).strip().splitlines()[0]
        raise WeightsError(f"{path} is refused: it holds more than weights, or is no checkpoint ({first})") from error
    except (RuntimeError, EOFError, OSError, LookupError, ValueError, AttributeError, TypeError) as error:
        raise WeightsError(f"{path} cannot be read as a checkpoint: {error}; fetch it again") from error


def _plain_numpy() -> list[Any]:
    """Training's metrics in LAION's files are numpy scalars, written under numpy 1's module name."""
    scalar = np.float64(0).__reduce__()[0]
    names = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
    return [*((scalar, name) for name in names), np.dtype, *{type(np.dtype(kind)) for kind in "fdilq?"}]
