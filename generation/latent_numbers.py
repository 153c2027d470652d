"""A latent's Gaussian as a file: one byte for each number, or float16 for who wants them exact.

    data = latent_file(latent, "bytes")                 # the member <key>.latent.npy of a shard
    mean, std = gaussians(*stacked([read_latent(data), ...]))

    bytes      (2, C, T) uint8, mean and logarithm of the deviation; behind it in the same file (2, 2, C) float32, the
               least number and the step of a byte, channel by channel. `np.load` reads them one after the other.
    float16    (2, C, T), mean and deviation

Which of the two a file holds, it says itself. A byte is off by up to half a step, a 510th of what the channel spans
within the clip: of a Gaussian channel of 256 steps that is 0.7 % of its standard deviation (root mean square), of one
that is silence but for a second 2 %, and never more than 4.5 %, that of two needles on a flat ground. Where nothing
changes, nothing is lost: the step is 0 then.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch

Numbers = Literal["bytes", "float16"]

#: Least deviation that has a logarithm here; genau.vae's are above it.
_LEAST = 1e-7


@dataclass
class Latent:
    """A file's content: `numbers` (2, C, T) uint8 with `ranges` (2, 2, C), or float16 without."""

    numbers: np.ndarray
    ranges: np.ndarray | None = None


def latent_file(latent: np.ndarray, numbers: Numbers) -> bytes:
    """Mean and deviation (2, C, T) in NumPy's file format. ValueError where they are not finite as they are kept."""
    if numbers == "float16":
        with np.errstate(over="ignore"):
            half = latent.astype(np.float16)
        return _file(_finite(half))
    mean, std = _finite(latent.astype(np.float64))
    values = np.stack([mean, np.log(np.maximum(std, _LEAST))])
    least = values.min(axis=2)
    ranges = np.stack([least, (values.max(axis=2) - least) / 255], axis=1).astype(np.float32)
    low, step = (ranges[:, part, :, None] for part in (0, 1))
    counted = np.divide(values - low, step, out=np.zeros_like(values), where=step > 0)
    return _file(counted.round().clip(0, 255).astype(np.uint8), ranges)


def _finite(array: np.ndarray) -> np.ndarray:
    if not np.isfinite(array).all():
        raise ValueError("numbers that are not finite")
    return array


def read_latent(data: bytes) -> Latent:
    """ValueError where the bytes are neither of the two."""
    numbers, end = _array_at(data, 0)
    ranges: np.ndarray | None = None
    if numbers.dtype == np.uint8:
        ranges, end = _array_at(data, end)
        if ranges.dtype != np.float32 or numbers.ndim != 3 or ranges.shape != (2, 2, numbers.shape[1]):
            raise ValueError
    elif numbers.dtype != np.float16:
        raise ValueError
    if end != len(data):
        raise ValueError
    return Latent(numbers, ranges)


def stacked(latents: Sequence[Latent]) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Of one shape, as one: (B, 2, C, T) uint8 and (B, 2, 2, C), still to be reckoned; the numbers themselves where
    not all are bytes."""
    numbers = [latent.numbers for latent in latents]
    ranges = [latent.ranges for latent in latents if latent.ranges is not None]
    if len(ranges) == len(latents):
        return torch.from_numpy(np.stack(numbers)), torch.from_numpy(np.stack(ranges))
    if ranges:
        numbers = [torch.cat(gaussians(*stacked([latent]))).numpy() for latent in latents]
    return torch.from_numpy(np.stack(numbers)), None


def gaussians(numbers: torch.Tensor, ranges: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """What `stacked` gives, on any device -> mean and deviation (B, C, T) float32."""
    if ranges is None:
        mean, std = numbers.float().unbind(dim=1)
        return mean, std
    low, step = ranges[..., None].unbind(dim=2)
    mean, log_std = torch.addcmul(low, step, numbers.float()).unbind(dim=1)
    return mean, log_std.exp()


def half_file(array: np.ndarray) -> bytes:
    """As float16, for vectors."""
    return _file(np.ascontiguousarray(array, dtype=np.float16))


def read_half(data: bytes) -> np.ndarray:
    """ValueError where it is no float16."""
    array, end = _array_at(data, 0)
    if array.dtype != np.float16 or end != len(data):
        raise ValueError
    return array


def _file(*arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    for array in arrays:
        np.lib.format.write_array(file, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    return file.getvalue()


def _array_at(data: bytes, start: int) -> tuple[np.ndarray, int]:
    """The array that begins there, not copied, and where it ends. ValueError."""
    first = start + 10 + int.from_bytes(data[start + 8 : start + 10], "little")
    shape, dtype = _told_in(data[start:first])
    array = np.frombuffer(data, dtype, count=math.prod(shape), offset=first).reshape(shape)
    return array, first + array.nbytes


@lru_cache(maxsize=1024)
def _told_in(head: bytes) -> tuple[tuple[int, ...], np.dtype]:
    """By the head of a file of NumPy's, which is the same for most clips and dear to parse."""
    file = io.BytesIO(head)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError
    shape, columns_first, dtype = np.lib.format.read_array_header_1_0(file)
    if columns_first or dtype not in (np.uint8, np.float16, np.float32) or min(shape, default=0) < 1:
        raise ValueError
    return tuple(shape), dtype
