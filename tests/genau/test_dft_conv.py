"""The convolution by blocks beside PyTorch's, in double precision."""

import pytest
import torch
from torch.nn import functional as fn

from genau.dft_conv import BlockConv


@pytest.mark.parametrize("dilation", [1, 3, 5])
@pytest.mark.parametrize(("taps", "points"), [(3, 9), (7, 24), (11, 32)])
@pytest.mark.parametrize("steps", [1, 100, 257])
def test_it_is_the_direct_sum(taps, points, dilation, steps):
    torch.manual_seed(0)
    x_CN, weight, bias = torch.randn(6, steps), torch.randn(5, 6, taps), torch.randn(5)
    true = fn.conv1d(x_CN.double(), weight.double(), bias.double(), padding="same", dilation=dilation)
    found = BlockConv(weight, bias, dilation, points)(x_CN.T.contiguous())
    torch.testing.assert_close(found.T.double(), true, atol=2e-5, rtol=0)
