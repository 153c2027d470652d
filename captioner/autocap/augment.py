"""What training does to what is heard and read: mixtures of two clips, missing metadata, stripes, dropped paths.

Everything random is drawn from a generator that is handed in, so that a step can be done again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from captioner.autocap.train_recipe import Augment
from captioner.load import Metadata
from scorer.htsat import Block, Htsat


def joined_metadata(front: Metadata, back: Metadata) -> Metadata:
    """What both sources say, the louder one's first."""
    return Metadata(*(". ".join(text for text in pair if text) for pair in zip(front, back, strict=True)))


def drop_keys(metadata: Metadata, share: float, rng: np.random.Generator) -> Metadata:
    """Each field is emptied with probability `share`, on its own; its tags stay, with nothing between."""
    gone = rng.random(len(metadata)) < share
    return Metadata(*("" if lost else text for text, lost in zip(metadata, gone, strict=True)))


def chosen_keys(metadata: Metadata, keys: Sequence[str]) -> Metadata:
    """Only the fields that the recipe feeds to the model."""
    return Metadata(**{key: getattr(metadata, key) for key in keys})


def stripe_mask(shape: tuple[int, int, int], recipe: Augment, generator: torch.Generator | None = None) -> torch.Tensor:
    """(B, mels, frames) of 1, and 0 in the stripes of SpecAugment, drawn for each clip; on the CPU."""
    batch, mels, frames = shape
    keep = torch.ones(batch, mels, frames)
    for row in keep:
        for _ in range(recipe.time_stripes):
            first, size = _stripe(frames, recipe.time_stripe_frames, generator)
            row[:, first : first + size] = 0
        for _ in range(recipe.mel_stripes):
            first, size = _stripe(mels, recipe.mel_stripe_bands, generator)
            row[first : first + size] = 0
    return keep


def _stripe(length: int, most: int, generator: torch.Generator | None) -> tuple[int, int]:
    """Where a stripe of 0 to `most` begins, and how long it is."""
    size = int(torch.randint(min(most, length) + 1, (), generator=generator))
    return int(torch.randint(length - size + 1, (), generator=generator)), size


def drop_path(branch: torch.Tensor, share: float, generator: torch.Generator | None = None) -> torch.Tensor:
    """A residual branch (B, ...) left out of whole clips with probability `share`, louder in the others for it."""
    keep = (torch.rand(len(branch), generator=generator) >= share).to(branch) / (1 - share)
    return branch * keep.view(-1, *[1] * (branch.dim() - 1))


@contextmanager
def augmented(ears: Htsat, recipe: Augment, generator: torch.Generator | None = None) -> Iterator[None]:
    """While the block runs, an HTSAT (scorer/htsat.py) hears through stripes and drops paths, whatever its mode.

    Stripes are of the normalised mel, where 0 is the mean. The share of dropped paths grows from 0 in the first block
    to the recipe's in the last. Done by hooks, so that the tower that only hears has nothing of it.
    """
    hooks = [ears.bn0.register_forward_hook(_striped(recipe, generator))]
    blocks = [module for module in ears.modules() if isinstance(module, Block)]
    for at, block in enumerate(blocks):
        share = recipe.drop_path * at / max(1, len(blocks) - 1)
        if share > 0:
            hooks += [part.register_forward_hook(_dropping(share, generator)) for part in (block.attn, block.mlp)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _striped(recipe: Augment, generator: torch.Generator | None) -> Callable[..., torch.Tensor]:
    def hook(_: nn.Module, __: Any, normed_BFTC: torch.Tensor) -> torch.Tensor:
        batch, mels, frames, _channels = normed_BFTC.shape
        keep = stripe_mask((batch, mels, frames), recipe, generator)
        return normed_BFTC * keep.to(normed_BFTC, non_blocking=True).unsqueeze(-1)

    return hook


def _dropping(share: float, generator: torch.Generator | None) -> Callable[..., torch.Tensor]:
    def hook(_: nn.Module, __: Any, branch: torch.Tensor) -> torch.Tensor:
        return drop_path(branch, share, generator)

    return hook
