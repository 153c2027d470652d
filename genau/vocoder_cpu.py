"""HiFi-GAN on a CPU, without gradients: the sums of genau.vocoder, about twice as fast.

Time comes first (N, C) here, the layout in which oneDNN's convolutions run at the speed of a bare matrix product. Wide
and long ones go by blocks of time (genau/dft_conv.py). A clip is taken in pieces of time that a cache holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as fn

from genau.dft_conv import BlockConv

if TYPE_CHECKING:
    from genau.vocoder import ResBlock, Vocoder

#: Steps of a piece, at most.
PIECE = 6000
#: The Fourier transform's length for each number of taps, and the channels x taps from which on it is the faster way.
POINTS = {7: 24, 11: 32}
WIDE = 1024


def vocode(net: Vocoder, mel_BFT: torch.Tensor, slope: float) -> torch.Tensor:
    """(B, F, T) to (B, N). Clip by clip within a layer: its weights are laid out once for all of them."""
    clips, kinds = [net.conv_pre(mel_FT[None])[0].T.contiguous() for mel_FT in mel_BFT], len(net.shape.block_kernels)
    for at, up in enumerate(net.ups):
        clips = [stretch(up, fn.leaky_relu_(x_NC, slope)) for x_NC in clips]  # type: ignore[arg-type]
        clips = means_of(net.resblocks[at * kinds : (at + 1) * kinds], clips, slope)  # type: ignore[arg-type]
    last = same(net.conv_post)
    return torch.stack([last(fn.leaky_relu_(x_NC)).tanh_()[:, 0] for x_NC in clips])


def stretch(up: nn.ConvTranspose1d, x_NC: torch.Tensor) -> torch.Tensor:
    """A transposed convolution: each step's products with all taps, `rate` taps at once, added where they overlap."""
    (steps, channels), (rate,), (taps,), cut = x_NC.shape, up.stride, up.kernel_size, int(up.padding[0])
    reach = math.ceil(taps / rate)
    weight_CKO = fn.pad(up.weight.permute(0, 2, 1), (0, 0, 0, reach * rate - taps))
    y_NO = up.bias.repeat(steps + reach - 1, rate)  # type: ignore[union-attr]
    for late, part_CKO in enumerate(torch.split(weight_CKO, rate, dim=1)):
        y_NO[late : late + steps].addmm_(x_NC, part_CKO.reshape(channels, -1))
    return y_NO.view(-1, up.out_channels)[cut : (steps - 1) * rate + taps - cut]


def means_of(blocks: Sequence[ResBlock], clips: Sequence[torch.Tensor], slope: float) -> list[torch.Tensor]:
    """Of each clip what the blocks make of it, averaged. Clips (N, C) of one length."""
    steps = len(clips[0])
    piece = math.ceil(steps / math.ceil(steps / PIECE))
    totals = [torch.zeros_like(x_NC) for x_NC in clips]
    for block in blocks:
        pairs = list(zip(map(same, block.convs1), map(same, block.convs2), strict=True))
        # No step further away than this is heard.
        reach = sum(int(conv.padding[0]) for conv in [*block.convs1, *block.convs2])
        for (x_NC, total_NC), begin in product(zip(clips, totals, strict=True), range(0, steps, piece)):
            start, end = max(0, begin - reach), min(steps, begin + piece)
            y_NC = x_NC[start : end + reach]
            for first, second in pairs:
                y_NC = second(fn.leaky_relu_(first(fn.leaky_relu(y_NC, slope)), slope)).add_(y_NC)
            total_NC[begin:end] += y_NC[begin - start : end - start]
    return [total_NC.div_(len(blocks)) for total_NC in totals]


def same(conv: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    """The faster way to take a convolution that keeps the length: (N, C) to (N, O)."""
    assert isinstance(conv, nn.Conv1d)
    (taps,), (dilation,), padding = conv.kernel_size, conv.dilation, int(conv.padding[0])
    if taps in POINTS and conv.in_channels * taps >= WIDE:
        return BlockConv(conv.weight, conv.bias, dilation, POINTS[taps])  # type: ignore[arg-type]
    weight = conv.weight[:, :, None].contiguous(memory_format=torch.channels_last)

    def convolve(x_NC: torch.Tensor) -> torch.Tensor:
        """oneDNN knows this layout for pictures only: ours is one line high."""
        x_BCHN = x_NC.view(1, 1, *x_NC.shape).permute(0, 3, 1, 2)
        y_BOHN = fn.conv2d(x_BCHN, weight, conv.bias, padding=(0, padding), dilation=(1, dilation))
        return y_BOHN[0, :, 0].T

    return convolve
