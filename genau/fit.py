"""FIT, GenAU's denoiser: patches of the latent in groups, and a smaller set of latent tokens that does the work.

    noise, latents = fit(x_BCT, t_B, text_BE, dataset_BD)

Far-reaching interleaved transformers (Chen & Li 2023) as arXiv 2406.19388, section 5, builds them. In each block
patches attend within their group, latent tokens read the condition and their group's patches, think among themselves,
and are written back. The condition is three tokens: text, time, data set. Parameters carry the published checkpoint's
names.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as fn

#: Tensors of attention, feed-forward and patch layers begin at PyTorch's default times this (1 / sqrt 3).
INIT_SCALE = 3**-0.5


@dataclass(frozen=True)
class FitShape:
    """Sizes. `channels` x `steps` is the latent that is denoised; `group` and `patch` count patches and steps."""

    channels: int = 64
    steps: int = 256
    patch: int = 1
    group: int = 32
    patch_width: int = 1024
    latent_width: int = 1024
    latents: int = 256
    blocks: int = 4
    local_layers: int = 2
    global_layers: int = 4
    context_width: int = 1024
    text_width: int = 1536
    datasets: int = 32
    head_width: int = 64
    dropout: float = 0.1

    @property
    def patches(self) -> int:
        return self.steps // self.patch

    @property
    def groups(self) -> int:
        return self.patches // self.group


#: 493 M and 1.25 B parameters; widths inferred from the paper's counts (docs/genau.md).
SMALL = FitShape()
LARGE = FitShape(latent_width=1536, blocks=6)
#: For first runs on one CPU, behind the embedded VAE.
TINY = FitShape(
    channels=16, patch=2, group=16, patch_width=96, latent_width=128, latents=32, blocks=2, global_layers=2,
    context_width=128, text_width=384, head_width=32, dropout=0.0,
)  # fmt: skip


class Norm(nn.Module):
    """LayerNorm with a learned scale and a constant shift, which published files hold as `beta`."""

    beta: torch.Tensor

    def __init__(self, width: int, scale: float = 1.0) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), scale))
        self.register_buffer("beta", torch.zeros(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return fn.layer_norm(x, x.shape[-1:], self.gamma, self.beta)


class Attention(nn.Module):
    """Pre-norm attention of tokens to a context (B, M, context), or among themselves where none is given."""

    def __init__(self, width: int, context: int | None, inner: int, head: int) -> None:
        super().__init__()
        self.heads = inner // head
        self.norm = Norm(width)
        self.norm_context = Norm(context) if context is not None else None
        self.to_q = nn.Linear(width, inner, bias=False)
        self.to_kv = nn.Linear(context or width, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, width, bias=False)

    def forward(self, x_BNC: torch.Tensor, context_BMC: torch.Tensor | None = None) -> torch.Tensor:
        normed = self.norm(x_BNC)
        seen = normed if context_BMC is None or self.norm_context is None else self.norm_context(context_BMC)
        q = self._heads(self.to_q(normed))
        k, v = (self._heads(part) for part in self.to_kv(seen).chunk(2, dim=-1))
        heard = fn.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return x_BNC + self.to_out(heard)  # type: ignore[no-any-return]

    def _heads(self, x_BNC: torch.Tensor) -> torch.Tensor:
        return x_BNC.reshape(*x_BNC.shape[:2], self.heads, -1).transpose(1, 2)


class FeedForward(nn.Module):
    """Pre-norm, four times as wide inside; `dropout` None has no such module, which shifts the names by one."""

    def __init__(self, width: int, dropout: float | None = None, *, residual: bool = True) -> None:
        super().__init__()
        self.norm, self.residual = Norm(width), residual
        inside: list[nn.Module] = [nn.Linear(width, 4 * width), nn.GELU()]
        inside += [] if dropout is None else [nn.Dropout(dropout)]
        self.net = nn.Sequential(*inside, nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.net(self.norm(x))
        return x + out if self.residual else out


def layers(count: int, width: int, head: int, dropout: float) -> nn.ModuleList:
    """Self-attention and feed-forward, `count` times."""
    return nn.ModuleList(
        nn.ModuleList([Attention(width, None, width, head), FeedForward(width, dropout)]) for _ in range(count)
    )


def through(pairs: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
    for pair in pairs:
        attention, feed_forward = pair.children()
        x = feed_forward(attention(x))
    return x


class Block(nn.Module):
    """One round: patches among themselves, latents read, think, write. The last block has patches only."""

    def __init__(self, shape: FitShape, *, last: bool) -> None:
        super().__init__()
        self.last, self.groups = last, shape.groups
        patch, latent, head = shape.patch_width, shape.latent_width, shape.head_width
        self.local_layers = layers(shape.local_layers, patch, head, shape.dropout)
        if last:
            return
        between = min(patch, latent)
        self.latents_attend_to_patches = Attention(latent, patch, between, head)
        self.latents_cross_attn_ff = FeedForward(latent)
        self.latents_attend_to_context = Attention(latent, shape.context_width, min(latent, shape.context_width), head)
        self.latents_context_attn_ff = FeedForward(latent)
        self.global_layers = layers(shape.global_layers, latent, head, shape.dropout)
        self.patches_attend_to_latents = Attention(patch, latent, between, head)
        self.patches_cross_attn_ff = FeedForward(patch)

    def forward(
        self, patches_BNC: torch.Tensor, latents_BMC: torch.Tensor, context_BKC: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        patches = self._grouped(patches_BNC)
        patches = through(self.local_layers, patches)
        if self.last:
            return patches.reshape(patches_BNC.shape), latents_BMC
        latents_BMC = self.latents_context_attn_ff(self.latents_attend_to_context(latents_BMC, context_BKC))
        latents = self.latents_cross_attn_ff(self.latents_attend_to_patches(self._grouped(latents_BMC), patches))
        latents_BMC = through(self.global_layers, latents.reshape(latents_BMC.shape))
        patches = self.patches_attend_to_latents(patches, self._grouped(latents_BMC))
        return self.patches_cross_attn_ff(patches).reshape(patches_BNC.shape), latents_BMC

    def _grouped(self, x_BNC: torch.Tensor) -> torch.Tensor:
        """(B, N, C) -> (B groups, N / groups, C): neighbours stay together."""
        return x_BNC.reshape(len(x_BNC) * self.groups, -1, x_BNC.shape[2])


class TimeFeatures(nn.Module):
    """t as it is, and its sine and cosine at learned frequencies: (B,) -> (B, 17).

    In float32 whatever the weights are: bfloat16 cannot tell 501 from 500.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.randn(8))

    def forward(self, t_B: torch.Tensor) -> torch.Tensor:
        t_B1 = t_B.float()[:, None]
        angles = t_B1 * self.weights.float()[None] * (2 * math.pi)
        return torch.cat([t_B1, angles.sin(), angles.cos()], dim=1)


class Fit(nn.Module):
    """Predicts the noise in x (B, C, T) at whole-numbered times (B,). Latent tokens may be handed to the next call."""

    def __init__(self, shape: FitShape) -> None:
        super().__init__()
        self.shape = shape
        flat = shape.channels * shape.patch
        self.latents = nn.Parameter(torch.randn(shape.latents, shape.latent_width) * 0.02)
        self.patches_pe = nn.Parameter(torch.randn(shape.patches, shape.patch_width) * 0.02)
        self.time_mlp = nn.Sequential(
            TimeFeatures(),
            nn.Linear(17, 4 * shape.patch_width),
            nn.GELU(),
            nn.Linear(4 * shape.patch_width, shape.context_width),
        )
        self.dataset_id_conditioning_mlp = nn.Sequential(nn.Linear(shape.datasets, shape.context_width))
        self.context_projection_summary_text_embeddings = nn.Linear(shape.text_width, shape.context_width, bias=False)
        self.to_patches = nn.Sequential(nn.Linear(flat, shape.patch_width), nn.LayerNorm(shape.patch_width))
        self.patch_to_pixels = nn.Sequential(Norm(shape.patch_width), nn.Linear(shape.patch_width, flat))
        self.self_conditioning_latents_projection = nn.Sequential(
            FeedForward(shape.latent_width, residual=False), Norm(shape.latent_width, scale=0.0)
        )
        self.blocks = nn.ModuleList(Block(shape, last=at == shape.blocks) for at in range(shape.blocks + 1))
        self._scale_down()

    @torch.no_grad()
    def _scale_down(self) -> None:
        """The reference's start: linear layers of blocks and patches a little below PyTorch's own."""
        for part in (self.blocks, self.to_patches, self.patch_to_pixels, self.self_conditioning_latents_projection):
            for module in part.modules():
                if isinstance(module, nn.Linear):
                    module.weight.mul_(INIT_SCALE)
                    if module.bias is not None:
                        module.bias.mul_(INIT_SCALE)

    def forward(
        self,
        x_BCT: torch.Tensor,
        t_B: torch.Tensor,
        text_BE: torch.Tensor,
        dataset_BD: torch.Tensor,
        latents_BMC: torch.Tensor | None = None,
        handed_B: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Noise (B, C, T) and the latent tokens. `dataset_BD`: one-hot, zeros: none.

        `latents_BMC`: the tokens of a call before; `handed_B`: 1 for the clips that get theirs, 0 for the others.
        """
        context = torch.stack(
            [
                self.context_projection_summary_text_embeddings(text_BE),
                self._time(t_B),
                self.dataset_id_conditioning_mlp(dataset_BD),
            ],
            dim=1,
        )
        patches = self.to_patches(self.cut(x_BCT)) + self.patches_pe
        latents = self.latents.expand(len(x_BCT), -1, -1)
        if latents_BMC is not None:
            handed = self.self_conditioning_latents_projection(latents_BMC)
            latents = latents + (handed if handed_B is None else handed * handed_B[:, None, None])
        for block in self.blocks:
            patches, latents = block(patches, latents, context)
        return self.uncut(self.patch_to_pixels(patches)), latents

    def _time(self, t_B: torch.Tensor) -> torch.Tensor:
        """(B,) -> (B, context), outside of autocast, which would round t to bfloat16."""
        with torch.autocast(t_B.device.type, enabled=False):
            features, first, gelu, last = self.time_mlp
            return last(gelu(first(features(t_B).to(first.weight.dtype))))  # type: ignore[no-any-return]

    def cut(self, x_BCT: torch.Tensor) -> torch.Tensor:
        """(B, C, T) -> (B, T / patch, C patch), the channel outermost."""
        return x_BCT.reshape(*x_BCT.shape[:2], -1, self.shape.patch).permute(0, 2, 1, 3).flatten(2)

    def uncut(self, patches_BNP: torch.Tensor) -> torch.Tensor:
        """(B, N, C patch) -> (B, C, N patch)."""
        apart = patches_BNP.reshape(*patches_BNP.shape[:2], self.shape.channels, self.shape.patch)
        return apart.permute(0, 2, 1, 3).flatten(2)


def shape_of(state: Mapping[str, torch.Tensor], *, group: int = 32, head_width: int = 64, patch: int = 1) -> FitShape:
    """The sizes of a FIT from its tensors; what they cannot tell comes from the checkpoint's configuration."""
    patches, patch_width = state["patches_pe"].shape
    latents, latent_width = state["latents"].shape
    blocks = max(int(name.split(".")[1]) for name in state if name.startswith("blocks."))

    def count(kind: str) -> int:
        return 1 + max(int(name.split(".")[3]) for name in state if name.startswith(f"blocks.0.{kind}."))

    return FitShape(
        channels=state["to_patches.0.weight"].shape[1] // patch,
        steps=patches * patch,
        patch=patch,
        group=group,
        patch_width=patch_width,
        latent_width=latent_width,
        latents=latents,
        blocks=blocks,
        local_layers=count("local_layers"),
        global_layers=count("global_layers"),
        context_width=state["context_projection_summary_text_embeddings.weight"].shape[0],
        text_width=state["context_projection_summary_text_embeddings.weight"].shape[1],
        datasets=state["dataset_id_conditioning_mlp.0.weight"].shape[1],
        head_width=head_width,
    )
