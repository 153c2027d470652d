"""Counted by the formula as PyTorch counts them."""

from dataclasses import replace

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from genau.fit import TINY, Fit
from genau.flops import flops


def test_the_formula_is_what_pytorch_counts():
    for shape in (TINY, replace(TINY, patch_width=64, latent_width=160, blocks=1, context_width=96, text_width=24)):
        net = Fit(shape).eval().requires_grad_(False)
        # PyTorch does not count the CPU's own attention.
        with FlopCounterMode(display=False) as counter, torch.inference_mode(), sdpa_kernel(SDPBackend.MATH):
            net(
                torch.zeros(1, shape.channels, shape.steps),
                torch.tensor([5]),
                torch.zeros(1, shape.text_width),
                torch.zeros(1, shape.datasets),
            )
        assert flops(shape) == counter.get_total_flops()
