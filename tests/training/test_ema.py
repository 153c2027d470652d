import pytest
import torch
from torch import nn

from training.ema import Ema


def learning(net):
    return {name: p for name, p in net.named_parameters() if p.requires_grad}


def test_the_copy_follows_and_comes_to_rest_at_the_weights():
    net = nn.Linear(2, 2)
    ema = Ema(learning(net), 0.9)
    with torch.no_grad():
        net.weight.fill_(1.0)
    for step in range(200):
        ema.update(step)
    assert torch.allclose(ema.values["weight"], torch.ones(2, 2), atol=1e-6)


def test_late_steps_follow_at_the_decay():
    net = nn.Linear(1, 1)
    ema = Ema(learning(net), 0.99)
    before = float(ema.values["weight"])
    with torch.no_grad():
        net.weight += 1.0
    ema.update(10_000)
    assert float(ema.values["weight"]) == pytest.approx(before + 0.01, abs=1e-6)


def test_the_net_wears_the_copy_only_inside():
    net = nn.Linear(2, 2)
    net.bias.requires_grad_(False)
    ema = Ema(learning(net), 0.9)
    assert set(ema.values) == {"weight"}
    with torch.no_grad():
        net.weight.fill_(3.0)
    with ema.in_place():
        assert not torch.equal(net.weight, torch.full((2, 2), 3.0))
    assert torch.equal(net.weight, torch.full((2, 2), 3.0))


def test_a_copy_of_other_weights_is_refused():
    with pytest.raises(ValueError, match="other parameters"):
        Ema(learning(nn.Linear(2, 2)), 0.9).load({"weight": torch.zeros(2, 2)})
