import pytest

from tests.genau_fill import golden
from training.schedule import rate
from training.settings import ScheduleSettings

GENAU = {"peak_rate": 5e-3, "final_rate": 0.0015, "warmup_steps": 5000, "warmup_from": 1 / 500, "every_steps": 10}


@pytest.mark.parametrize(("vector", "steps"), [("lr_80M", 80_000_000), ("lr_20k_steps", 20_000)])
def test_the_rates_are_the_references(vector, steps):
    vectors, settings = golden("optim"), ScheduleSettings(**GENAU)
    for updates, wanted in zip(vectors["lr_updates"], vectors[vector], strict=True):
        for step in (10 * int(updates), 10 * int(updates) + 9):
            assert rate(settings, step, steps) == pytest.approx(float(wanted), rel=1e-9)


def test_half_a_cosine_ends_at_nothing_and_stays_there():
    settings = ScheduleSettings(peak_rate=1.0)
    assert [round(rate(settings, step, 8), 6) for step in (0, 4, 8, 12)] == [1.0, 0.5, 0.0, 0.0]
    assert rate(ScheduleSettings(peak_rate=1.0, decay_steps=4), 2, 8) == pytest.approx(0.5)


def test_a_constant_one_only_warms_up():
    settings = ScheduleSettings(type="constant", peak_rate=1.0, warmup_steps=2, warmup_from=0.0)
    assert [rate(settings, step, 8) for step in (0, 1, 2, 100)] == [0.0, 0.5, 1.0, 1.0]


def test_a_rate_that_would_rise_is_refused():
    with pytest.raises(ValueError, match="final_rate"):
        ScheduleSettings(peak_rate=0.1, final_rate=0.2)
