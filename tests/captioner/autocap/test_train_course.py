import pytest

from captioner.autocap.train_course import plan_of, turn_of
from training.schedule import rate


def rates(recipe, steps):
    schedule = turn_of(recipe, steps).schedule
    return [rate(schedule, step, steps) for step in range(steps)]


def test_the_rate_rises_for_two_epochs_and_falls_to_nothing(recipe):
    trial = recipe(optimizer={"peak_rate": 1e-4, "epochs": 20, "warmup_epochs": 2})
    told = rates(trial, 2000)
    assert told[:200] == sorted(told[:200])
    assert told[200:] == sorted(told[200:], reverse=True)
    assert max(told) == told[200] == 1e-4
    assert told[0] < 1e-6
    assert told[1100] == pytest.approx(0.5e-4, rel=1e-3)  # half way of the cosine
    assert 0 < told[-1] < 1e-9


def test_a_run_of_a_step_or_two_has_a_rate(recipe):
    assert rates(recipe(optimizer={"peak_rate": 1e-4, "epochs": 20, "warmup_epochs": 2}), 1) == [1e-4]
    assert all(value > 0 for value in rates(recipe(optimizer={"warmup_epochs": 0}), 2))


def test_epochs_are_counted_in_steps_of_all_workers(recipe):
    trial = recipe(optimizer={"epochs": 2, "batch_clips": 2, "accumulate": 2})
    assert plan_of(trial, 24, 1).loop.steps == 12
    assert plan_of(trial, 24, 3).loop.steps == 4
