"""Shards of `autorecap genau encode`: a clip is the Gaussian that an autoencoder made of it, a caption is a vector.

    <key>.latent.npy   mean and deviation of (C, T) numbers, in bytes or float16 (generation/latent_numbers.py)
    <key>.text.npy     (captions, width) float16
    <key>.audio.npy    (columns,) float16: what the encoders hear, where they do (generation/conditioners/by_ear.py)
    <key>.json         what the clip's record says

A clip of 10.24 s is 34 kB with GenAU's VAE (66 in float16) and 3 more for each caption, ready for a training step: no
sound is decoded, no model but the one that learns is run. Shards of both sorts may be mixed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch

from generation.conditioners.by_ear import by_ear
from generation.data_recipe import Filters
from generation.data_samples import Clips, check_record, one_of, told_of
from generation.latent_numbers import Latent, gaussians, read_half, read_latent, stacked
from training.samples import Unusable
from training.shards import Sample

LATENT, TEXT, AUDIO = "latent.npy", "text.npy", "audio.npy"

Content = TypeVar("Content")


@dataclass(kw_only=True)
class LatentBatch(Clips):
    """`numbers`, `ranges`: as generation.latent_numbers.stacked has them; `text`: (B, width) float16, the vectors of
    `captions`."""

    numbers: torch.Tensor
    ranges: torch.Tensor | None
    text: torch.Tensor

    def gaussians(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and deviation (B, C, T) float32."""
        return gaussians(self.numbers.to(device), None if self.ranges is None else self.ranges.to(device))


@dataclass
class LatentClip:
    key: str
    caption: str
    dataset: str | None
    latent: Latent
    text: np.ndarray  # (width,) float16


@dataclass(frozen=True)
class Latents:
    """Data of kind "latents" for a generator whose latents are `channels` x `steps`, told of texts by `text_width`.

    Of `audio_share` of the clips it is told by ear in `audio_columns`.
    """

    channels: int
    steps: int
    text_width: int
    filters: Filters = field(default_factory=Filters)
    audio_share: float = 0.0
    audio_columns: Sequence[int] = ()

    def clip(self, sample: Sample, dataset: str | None, rng: np.random.Generator | None) -> LatentClip:
        told = told_of(sample)
        captions = check_record(told, self.filters)
        latent, texts = latent_of(sample), vectors_of(sample, TEXT)
        if latent.numbers.shape != (2, self.channels, self.steps):
            raise Unusable("latent_of_another_shape")
        if texts.shape != (len(told.captions), self.text_width):
            raise Unusable("text_of_another_shape")
        caption = captions[one_of(captions, rng)]
        text = self._by_ear(sample, texts[told.captions.index(caption)], rng)
        return LatentClip(str(sample["__key__"]), caption, dataset or told.dataset, latent, text)

    def _by_ear(self, sample: Sample, text: np.ndarray, rng: np.random.Generator | None) -> np.ndarray:
        """The caption's vector, or with what is heard in it."""
        if rng is None or self.audio_share == 0:
            return text
        audio = vectors_of(sample, AUDIO)
        if audio.shape != (len(self.audio_columns),):
            raise Unusable("audio_of_another_shape")
        if by_ear(1, self.audio_share, rng)[0]:
            text = text.copy()
            text[list(self.audio_columns)] = audio
        return text

    def batch(self, clips: Sequence[LatentClip], rng: np.random.Generator | None) -> LatentBatch:
        del rng  # latents are not mixed
        numbers, ranges = stacked([clip.latent for clip in clips])
        return LatentBatch(
            keys=[clip.key for clip in clips],
            captions=[clip.caption for clip in clips],
            datasets=[clip.dataset for clip in clips],
            numbers=numbers,
            ranges=ranges,
            text=torch.from_numpy(np.stack([clip.text for clip in clips])),
        )


def latent_of(sample: Sample) -> Latent:
    """Unusable where there is none."""
    return _read(sample, LATENT, read_latent)


def vectors_of(sample: Sample, name: str) -> np.ndarray:
    """A float16 member; Unusable where it is none."""
    return _read(sample, name, read_half)


def _read(sample: Sample, name: str, read: Callable[[bytes], Content]) -> Content:
    data = sample.get(name)
    if data is None:
        raise Unusable(f"no_{name.removesuffix('.npy')}")
    try:
        return read(data)
    except ValueError:
        raise Unusable("damaged_array") from None
