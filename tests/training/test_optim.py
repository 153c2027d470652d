import pytest
import torch
from torch import nn

from training.errors import TrainError
from training.optim import load_state, make_optimizer, state_of
from training.schedule import set_rate
from training.settings import OptimizerSettings


def made(kind, seed=0):
    torch.manual_seed(seed)
    net = nn.Linear(3, 2)
    optimizer = make_optimizer(net.parameters(), OptimizerSettings(type=kind))
    set_rate(optimizer, 0.1)
    return net, optimizer


def learn(net, optimizer, seed):
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(seed))
    net(x).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


@pytest.mark.parametrize("kind", ["lamb", "adam", "adamw"])
def test_the_state_goes_on_where_it_was(kind):
    net, optimizer = made(kind)
    learn(net, optimizer, 1)
    state = dict(state_of(optimizer, dict(net.named_parameters())))
    assert {"weight/exp_avg", "bias/exp_avg_sq"} <= set(state)
    again, other = made(kind)
    again.load_state_dict(net.state_dict())
    load_state(other, dict(again.named_parameters()), {name: value.clone() for name, value in state.items()})
    learn(net, optimizer, 2)
    learn(again, other, 2)
    assert torch.equal(net.weight, again.weight)
    assert torch.equal(net.bias, again.bias)


def test_adam_and_adamw_decay_differently():
    nets = {}
    for kind in ("adam", "adamw"):
        nets[kind], optimizer = made(kind)
        for seed in range(3):
            learn(nets[kind], optimizer, seed)
    assert not torch.allclose(nets["adam"].weight, nets["adamw"].weight)


def test_state_of_other_parameters_is_refused():
    net, optimizer = made("lamb")
    learn(net, optimizer, 1)
    named = dict(net.named_parameters())
    state = dict(state_of(optimizer, named))
    with pytest.raises(TrainError, match="'more' does not learn"):
        load_state(optimizer, named, {**state, "more/exp_avg": torch.zeros(1)})
    del state["bias/exp_avg"], state["bias/exp_avg_sq"]
    with pytest.raises(TrainError, match="lacks 1 parameters"):
        load_state(optimizer, named, state)
    load_state(optimizer, named, {})
