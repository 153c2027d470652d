"""How much FIT computes, for MFU: multiplications and additions counted apart, as papers do."""

from __future__ import annotations

from genau.fit import FitShape

CONTEXT_TOKENS = 3


def flops(shape: FitShape) -> float:
    """Of one clip's forward pass: products with weights, and those of attention. Backward is twice as much again."""
    patches, latents, groups = shape.patches, shape.latents, shape.groups
    patch, latent, context = shape.patch_width, shape.latent_width, shape.context_width
    between, reading = min(patch, latent), min(latent, context)
    local = _attention(patches, patches // groups, patch, patches, patch, patch) + _feed_forward(patches, patch)
    everywhere = _attention(latents, latents, latent, latents, latent, latent) + _feed_forward(latents, latent)
    told = _attention(latents, CONTEXT_TOKENS, latent, CONTEXT_TOKENS, context, reading)
    read = _attention(latents, patches // groups, latent, patches, patch, between)
    write = _attention(patches, latents // groups, patch, latents, latent, between)
    block = shape.local_layers * local + shape.global_layers * everywhere + told + read + write
    block += 2 * _feed_forward(latents, latent) + _feed_forward(patches, patch)
    pixels = 2 * 2 * patches * shape.channels * shape.patch * patch
    tokens = 2 * context * (shape.text_width + shape.datasets + 4 * patch) + 2 * 17 * 4 * patch
    return float(shape.blocks * block + shape.local_layers * local + pixels + tokens)


def _attention(asking: int, seen: int, width: int, heard: int, context: int, inner: int) -> int:
    """`asking` tokens look at `seen` each, of `heard` in all."""
    products = 2 * asking * width * inner + heard * context * 2 * inner + 2 * asking * seen * inner
    return 2 * products


def _feed_forward(tokens: int, width: int) -> int:
    return 2 * 8 * tokens * width**2
