"""A wide convolution over time with a third of the multiplications: blocks of time, as short Fourier transforms.

    conv = BlockConv(weight_OCK, bias_O, dilation=3, points=32)      # transforms the weights
    y_NO = conv(x_NC)                                                # an odd kernel, zeros around, as long as before

Overlap-save: a block of `points` steps gives `points` - K + 1 outputs. In the frequency domain a convolution is one
product of channels per frequency; a complex one costs three real ones. All of it is matrix products, which a CPU does
best, and float32 stays as exact as in the direct sum. Without gradients.

Letters: N time, C channels in, O channels out, K taps; S blocks, T steps and M outputs of a block, P its real products.
"""

from __future__ import annotations

import math
from functools import cache

import torch


class BlockConv:
    """`points`: two to four times the taps. More of them save multiplications; the transformed weights grow."""

    def __init__(self, weight_OCK: torch.Tensor, bias_O: torch.Tensor, dilation: int, points: int) -> None:
        outs, channels, self.taps = weight_OCK.shape
        self.dilation, self.bias_O = dilation, bias_O
        self.block_PT, taps_PK, self.back_MP = transforms(self.taps, points)
        weight_P = taps_PK @ weight_OCK.reshape(-1, self.taps).T
        self.weight_PCO = weight_P.view(-1, outs, channels).transpose(1, 2)

    def __call__(self, x_NC: torch.Tensor) -> torch.Tensor:
        (products, points), outputs = self.block_PT.shape, len(self.back_MP)
        steps, channels = x_NC.shape
        # Every `dilation`-th step is a row of its own, convolved without dilation; the rows lie one behind the other.
        blocks = math.ceil((math.ceil(steps / self.dilation) + self.taps - 1) / outputs)
        row, before = blocks * outputs, self.dilation * (self.taps - 1) // 2
        padded_NC = x_NC.new_zeros(row * self.dilation, channels)
        padded_NC[before : before + steps] = x_NC
        rows_NC = x_NC.new_zeros(row * self.dilation + points, channels)
        rows_NC[: len(padded_NC)] = padded_NC.view(row, self.dilation, channels).transpose(0, 1).reshape(-1, channels)
        x_STC = rows_NC.as_strided((blocks * self.dilation, points, channels), (outputs * channels, channels, 1))
        x_SPC = torch.bmm(self.block_PT.expand(len(x_STC), products, points), x_STC)
        y_SPO = torch.bmm(x_SPC.transpose(0, 1), self.weight_PCO).transpose(0, 1)
        y_SMO = torch.bmm(self.back_MP.expand(len(y_SPO), outputs, products), y_SPO)
        y_NO = y_SMO.view(self.dilation, row, -1).transpose(0, 1).reshape(row * self.dilation, -1)[:steps]
        return y_NO.add_(self.bias_O)


@cache
def transforms(taps: int, points: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What is multiplied with a block (P, T), with the taps (P, K), and with their P products (M, P).

    a + ib is the block's transform, p + iq the conjugate of the taps'. Three products give the output's:
    Re = p(a + b) - b(p + q), Im = p(a + b) + a(q - p). Frequencies above the half mirror those below it.
    """
    at = torch.arange(points, dtype=torch.float64)
    outputs = points - taps + 1
    block: list[torch.Tensor] = []
    of_taps: list[torch.Tensor] = []
    back: list[torch.Tensor] = []
    for frequency in range(points // 2 + 1):
        angle = 2 * math.pi * frequency * at / points
        cos, sin = torch.cos(angle), torch.sin(angle)
        p, q = cos[:taps], sin[:taps]
        if frequency in (0, points / 2):
            block, of_taps, back = [*block, cos], [*of_taps, p], [*back, cos[:outputs] / points]
            continue
        block += [cos - sin, cos, -sin]
        of_taps += [p, q - p, p + q]
        real, imaginary = 2 / points * cos[:outputs], -2 / points * sin[:outputs]
        back += [real + imaginary, imaginary, -real]
    return torch.stack(block).float(), torch.stack(of_taps).float(), torch.stack(back, dim=1).float()
