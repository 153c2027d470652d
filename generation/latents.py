"""Shards of `autorecap genau encode`: a clip is the Gaussian that an autoencoder made of it, a caption is a vector.

    <key>.latent.npy   (2, C, T) float16: mean and standard deviation
    <key>.text.npy     (captions, width) float16
    <key>.json         what the clip's record says

A clip of 10.24 s is some 66 kB with GenAU's VAE, ready for a training step: no sound is decoded, no model but the one
that learns is run.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch

from generation.data_recipe import Filters
from generation.data_samples import Clips, check_record, one_of, told_of
from training.samples import Unusable
from training.shards import Sample

LATENT, TEXT = "latent.npy", "text.npy"


@dataclass(kw_only=True)
class LatentBatch(Clips):
    """`mean`, `std`: (B, C, T) float16; `text`: (B, width) float16, the vectors of `captions`."""

    mean: torch.Tensor
    std: torch.Tensor
    text: torch.Tensor

    def sampled(self, generator: torch.Generator) -> torch.Tensor:
        """(B, C, T) float32 on the generator's device: a latent of each clip, drawn from its Gaussian."""
        mean, std = (part.to(generator.device).float() for part in (self.mean, self.std))
        return mean + std * torch.randn(mean.shape, generator=generator, device=generator.device)


@dataclass
class LatentClip:
    key: str
    caption: str
    dataset: str | None
    latent: np.ndarray  # (2, C, T) float16
    text: np.ndarray  # (width,) float16


@dataclass(frozen=True)
class Latents:
    """Data of kind "latents" for a generator whose latents are `channels` x `steps`, told of texts by `text_width`."""

    channels: int
    steps: int
    text_width: int
    filters: Filters = field(default_factory=Filters)

    def clip(self, sample: Sample, dataset: str | None, rng: np.random.Generator | None) -> LatentClip:
        told = told_of(sample)
        captions = check_record(told, self.filters)
        latent, texts = array_of(sample, LATENT), array_of(sample, TEXT)
        if latent.shape != (2, self.channels, self.steps):
            raise Unusable("latent_of_another_shape")
        if texts.shape != (len(told.captions), self.text_width):
            raise Unusable("text_of_another_shape")
        caption = captions[one_of(captions, rng)]
        text = texts[told.captions.index(caption)]
        return LatentClip(str(sample["__key__"]), caption, dataset or told.dataset, latent, text)

    def batch(self, clips: Sequence[LatentClip], rng: np.random.Generator | None) -> LatentBatch:
        del rng  # latents are not mixed
        latents = torch.from_numpy(np.stack([clip.latent for clip in clips], axis=1))
        return LatentBatch(
            keys=[clip.key for clip in clips],
            captions=[clip.caption for clip in clips],
            datasets=[clip.dataset for clip in clips],
            mean=latents[0],
            std=latents[1],
            text=torch.from_numpy(np.stack([clip.text for clip in clips])),
        )


def array_of(sample: Sample, name: str) -> np.ndarray:
    """A float16 member; Unusable where it is none."""
    data = sample.get(name)
    if data is None:
        raise Unusable("no_latent" if name == LATENT else "no_text")
    size = 10 + int.from_bytes(data[8:10], "little")
    try:
        return np.frombuffer(data, np.float16, offset=size).reshape(_shape_in(data[:size]))
    except ValueError:
        raise Unusable("damaged_array") from None


@lru_cache(maxsize=1024)
def _shape_in(header: bytes) -> tuple[int, ...]:
    """By the head of a file of NumPy's, which is the same for most clips and dear to parse. ValueError: not float16."""
    file = io.BytesIO(header)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError
    shape, columns_first, dtype = np.lib.format.read_array_header_1_0(file)
    if columns_first or dtype != np.float16:
        raise ValueError
    return tuple(shape)


def array_bytes(array: np.ndarray) -> bytes:
    """The array as float16 in NumPy's file format."""
    file = io.BytesIO()
    half = np.ascontiguousarray(array, dtype=np.float16)
    np.lib.format.write_array(file, half, version=(1, 0), allow_pickle=False)
    return file.getvalue()
