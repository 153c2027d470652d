import pytest
import torch
from torch import nn

from captioner.autocap.freeze import freeze, training_mode
from captioner.autocap.train_recipe import Freeze
from training.errors import TrainError


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.ears = nn.ModuleDict({"bn0": nn.BatchNorm1d(4), "fc1": nn.Linear(4, 4), "fc2": nn.Linear(4, 4)})
        self.words = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
        self.new = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))


def learning(net):
    return {name for name, p in net.named_parameters() if p.requires_grad}


def test_patterns_freeze_and_take_out_again():
    net = Net()
    learns, rests = freeze(net, Freeze(frozen=["ears.*", "words.*"], trained=["ears.fc1.*"]))
    assert learning(net) == {"ears.fc1.weight", "ears.fc1.bias", "new.0.weight", "new.0.bias"}
    assert (learns, rests) == (40, 48)


def test_a_pattern_without_a_parameter_is_refused_by_name():
    with pytest.raises(TrainError, match=r"decoder\.\*.*there are"):
        freeze(Net(), Freeze(frozen=["decoder.*"]))


def test_nothing_to_learn_is_refused():
    with pytest.raises(TrainError, match="nothing would learn"):
        freeze(Net(), Freeze(frozen=["*"]))


def test_frozen_parts_neither_drop_nor_drift():
    net, rules = Net(), Freeze(frozen=["ears.*", "words.*"], trained=["ears.fc1.*"])
    freeze(net, rules)
    training_mode(net, rules)
    assert not net.ears["bn0"].training
    assert not net.words[1].training
    assert net.new[1].training
    net.ears["bn0"](torch.randn(8, 4))
    assert torch.equal(net.ears["bn0"].running_mean, torch.zeros(4))


def test_the_reference_lets_statistics_drift():
    net, rules = Net(), Freeze(frozen=["ears.*", "words.*"], frozen_parts="train")
    freeze(net, rules)
    training_mode(net, rules)
    assert net.words[1].training
    net.ears["bn0"](torch.randn(8, 4))
    assert not torch.equal(net.ears["bn0"].running_mean, torch.zeros(4))
