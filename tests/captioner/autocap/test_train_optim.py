import pytest
import torch
from torch import nn

from captioner.autocap.train_optim import load_optimizer_state, make_optimizer, optimizer_state, rate
from captioner.autocap.train_recipe import Optimizer


def recipe(**changes):
    return Optimizer(**{"peak_rate": 1e-4, "epochs": 20, "warmup_epochs": 2, **changes})


def test_the_rate_rises_for_two_epochs_and_falls_to_nothing():
    rates = [rate(recipe(), step, 2000, 100) for step in range(2000)]
    assert rates[:200] == sorted(rates[:200])
    assert rates[200:] == sorted(rates[200:], reverse=True)
    assert max(rates) == rates[200] == 1e-4
    assert rates[0] < 1e-6
    assert rates[1100] == pytest.approx(0.5e-4, rel=1e-3)  # half way of the cosine
    assert 0 < rates[-1] < 1e-9


def test_a_run_of_a_step_or_two_has_a_rate():
    assert rate(recipe(), 0, 1, 1) == 1e-4
    assert all(rate(recipe(warmup_epochs=0), step, 2, 1) > 0 for step in range(2))


@pytest.mark.parametrize("kind", ["adam", "adamw"])
def test_state_goes_by_name_and_steps_go_on_alike(kind):
    def trained(steps, state=None, net=None):
        torch.manual_seed(0)
        net = net or nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))
        net[0].bias.requires_grad_(False)
        optimizer = make_optimizer(net, recipe(type=kind, weight_decay=0.1))
        if state is not None:
            load_optimizer_state(optimizer, net, state)
        for step in steps:
            net(torch.full((2, 3), float(step))).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        return net, optimizer_state(optimizer, net)

    through, _ = trained(range(6))
    half, state = trained(range(3))
    assert set(state) == {
        f"{name}/{kept}" for name in ("0.weight", "1.weight", "1.bias") for kept in ("step", "exp_avg", "exp_avg_sq")
    }
    on, _ = trained(range(3, 6), state, half)
    assert all(torch.equal(a, b) for a, b in zip(through.parameters(), on.parameters(), strict=True))


def test_state_of_other_parameters_is_refused():
    net = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="other parameters"):
        load_optimizer_state(make_optimizer(net, recipe()), net, {"weight/step": torch.zeros(())})
