"""HiFi-GAN: log-mel spectrograms to sound (Kong et al. 2020, generator V1 at 16 kHz, AudioLDM's sizes).

    wave_BN = vocoder(mel_BFT)      # (B, 64, T) -> (B, 160 T + 32)

A published file holds weight norm's two factors; `fold_weight_norm` makes plain weights of them when it is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as fn

from genau import vocoder_cpu

SLOPE = 0.1


@dataclass(frozen=True)
class VocoderShape:
    """The defaults are the published 55.26 M model's."""

    mels: int = 64
    width: int = 1024
    rates: tuple[int, ...] = (5, 4, 2, 2, 2)
    kernels: tuple[int, ...] = (16, 16, 8, 4, 4)
    block_kernels: tuple[int, ...] = (3, 7, 11)
    dilations: tuple[int, ...] = (1, 3, 5)


class ResBlock(nn.Module):
    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(_conv(channels, kernel, dilation) for dilation in dilations)
        self.convs2 = nn.ModuleList(_conv(channels, kernel, 1) for _ in dilations)

    def forward(self, x_BCN: torch.Tensor) -> torch.Tensor:
        for first, second in zip(self.convs1, self.convs2, strict=True):
            x_BCN = x_BCN + second(fn.leaky_relu(first(fn.leaky_relu(x_BCN, SLOPE)), SLOPE))
        return x_BCN


def _conv(channels: int, kernel: int, dilation: int) -> nn.Conv1d:
    return nn.Conv1d(channels, channels, kernel, dilation=dilation, padding=dilation * (kernel - 1) // 2)


class Vocoder(nn.Module):
    """Mel spectrograms (B, F, T) to waves (B, N) in [-1, 1]."""

    def __init__(self, shape: VocoderShape | None = None) -> None:
        super().__init__()
        self.shape = shape or VocoderShape()
        self.conv_pre = nn.Conv1d(self.shape.mels, self.shape.width, 7, padding=3)
        self.ups, self.resblocks = nn.ModuleList(), nn.ModuleList()
        channels = self.shape.width
        for rate, kernel in zip(self.shape.rates, self.shape.kernels, strict=True):
            half = channels // 2
            self.ups.append(nn.ConvTranspose1d(channels, half, kernel, rate, padding=(kernel - rate) // 2))
            self.resblocks.extend(ResBlock(half, size, self.shape.dilations) for size in self.shape.block_kernels)
            channels = half
        self.conv_post = nn.Conv1d(channels, 1, 7, padding=3)

    def forward(self, mel_BFT: torch.Tensor) -> torch.Tensor:
        if mel_BFT.device.type == "cpu" and mel_BFT.dtype == torch.float32 and not torch.is_grad_enabled():
            return vocoder_cpu.vocode(self, mel_BFT, SLOPE)
        return self.direct(mel_BFT)

    def direct(self, mel_BFT: torch.Tensor) -> torch.Tensor:
        """As the paper writes it: for gradients, for a GPU, and what the CPU's faster way is compared with."""
        x_BCN, kinds = self.conv_pre(mel_BFT), len(self.shape.block_kernels)
        for at, up in enumerate(self.ups):
            x_BCN = up(fn.leaky_relu(x_BCN, SLOPE))
            x_BCN = torch.stack([block(x_BCN) for block in self.resblocks[at * kinds : (at + 1) * kinds]]).mean(dim=0)
        # The reference leaves PyTorch's own slope to this one.
        return torch.tanh(self.conv_post(fn.leaky_relu(x_BCN)))[:, 0]


def fold_weight_norm(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """`weight_g` and `weight_v` become `weight` = g v / |v|, the norm over all but the first dimension."""
    state = {name.replace("_orig_mod.", ""): tensor for name, tensor in state.items()}
    folded = {}
    for name, tensor in state.items():
        if name.endswith(".weight_g"):
            direction = state[name.removesuffix("_g") + "_v"]
            length = direction.flatten(1).norm(dim=1).view(-1, *[1] * (direction.ndim - 1))
            folded[name.removesuffix("_g")] = direction * (tensor / length)
        elif not name.endswith(".weight_v"):
            folded[name] = tensor
    return folded


def shape_of(state: Mapping[str, torch.Tensor]) -> VocoderShape:
    """The sizes from folded tensors. A kernel of 2 r (16 for the first) belongs to a rate r: HiFi-GAN's own habit."""
    width, mels, _ = state["conv_pre.weight"].shape
    levels = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("ups."))
    kernels = tuple(int(state[f"ups.{level}.weight"].shape[2]) for level in range(levels))
    blocks = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("resblocks."))
    kinds = blocks // levels
    published = VocoderShape()
    return VocoderShape(
        mels=mels,
        width=width,
        rates=published.rates if kernels == published.kernels else tuple(kernel // 2 for kernel in kernels),
        kernels=kernels,
        block_kernels=tuple(int(state[f"resblocks.{at}.convs1.0.weight"].shape[2]) for at in range(kinds)),
    )
