"""Kernel Audio Distance: against torchmetrics' unbiased MMD, and what it must be by its nature."""

import numpy as np
import pytest
import torch
from torchmetrics.image.kid import maximum_mean_discrepancy

from generation.evaluation import kad


def test_equals_torchmetrics_mmd_under_the_same_kernel():
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(size=(60, 7)), rng.normal(size=(60, 7)) + 0.7
    width = np.median(torch.pdist(torch.from_numpy(theirs)).numpy())
    assert kad.median_distance(theirs) == pytest.approx(width, rel=1e-2)  # torch's median is the lower of two

    def kernel(one, other):
        squared = torch.cdist(torch.from_numpy(one), torch.from_numpy(other)) ** 2
        return torch.exp(-squared / (2 * kad.median_distance(theirs) ** 2))

    wanted = maximum_mean_discrepancy(kernel(ours, ours), kernel(ours, theirs), kernel(theirs, theirs))
    assert kad.kernel_distance(ours, theirs) == pytest.approx(100 * float(wanted), rel=1e-9)


def test_blocks_and_numbers_of_rows_change_nothing(monkeypatch):
    rng = np.random.default_rng(1)
    ours, theirs = rng.normal(size=(33, 4)), rng.normal(size=(21, 4)) + 1
    whole = kad.kernel_distance(ours, theirs)
    monkeypatch.setattr(kad, "_BLOCK", 5)
    assert kad.kernel_distance(ours, theirs) == pytest.approx(whole, rel=1e-12)


def test_one_distribution_is_about_zero_another_is_not():
    rng = np.random.default_rng(2)
    ours, theirs = rng.normal(size=(400, 5)), rng.normal(size=(300, 5))
    assert abs(kad.kernel_distance(ours, theirs)) < 0.5
    assert kad.kernel_distance(ours + 1, theirs) > 20


def test_the_median_of_many_is_of_a_seeded_draw(monkeypatch):
    monkeypatch.setattr(kad, "MEDIAN_OF", 300)
    rows = np.random.default_rng(3).normal(size=(400, 3))
    assert kad.median_distance(rows, seed=1) == kad.median_distance(rows, seed=1)
    assert kad.median_distance(rows, seed=1) == pytest.approx(kad.median_distance(rows, seed=2), rel=0.1)


def test_what_has_no_distance_is_refused():
    with pytest.raises(ValueError, match="two vectors"):
        kad.kernel_distance(np.zeros((1, 2)), np.ones((5, 2)))
    with pytest.raises(ValueError, match="alike"):
        kad.kernel_distance(np.ones((5, 2)), np.ones((5, 2)))
