"""The bootstrap's interval of a mean."""

import numpy as np
import pytest

from generation.evaluation.intervals import Mean, mean_of


def test_is_about_two_standard_errors_to_each_side():
    values = np.random.default_rng(0).normal(3.0, 2.0, size=400)
    found = mean_of(values, seed=1)
    assert found.value == pytest.approx(values.mean())
    assert found.value - found.low == pytest.approx(1.96 * 0.1, rel=0.15)
    assert found.high - found.value == pytest.approx(1.96 * 0.1, rel=0.15)
    assert mean_of(values, seed=1) == found


def test_there_is_none_of_one_clip_or_without_resamples():
    assert mean_of(np.array([0.5])) == Mean(0.5)
    assert mean_of(np.array([0.0, 1.0]), resamples=0) == Mean(0.5)
