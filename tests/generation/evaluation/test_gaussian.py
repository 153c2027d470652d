"""Mean and covariance of batches are those of all rows at once."""

import numpy as np
import pytest

from generation.evaluation.gaussian import Gaussian


@pytest.mark.parametrize("sizes", [[50], [1, 49], [7, 0, 20, 23]])
def test_batches_give_what_all_rows_give(sizes):
    rng = np.random.default_rng(1)
    batches = [rng.normal(size=(size, 6)).astype(np.float32) for size in sizes]
    found = Gaussian(6)
    for batch in batches:
        found.add(batch)
    rows = np.concatenate(batches).astype(np.float64)
    assert found.count == 50
    np.testing.assert_allclose(found.mean, rows.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(found.covariance, np.cov(rows, rowvar=False), atol=1e-12)


def test_a_mean_far_from_zero_costs_no_digits():
    rows = np.random.default_rng(2).normal(size=(1000, 3)) + 1e7
    found = Gaussian(3)
    for batch in np.split(rows, 10):
        found.add(batch)
    np.testing.assert_allclose(found.covariance, np.cov(rows - 1e7, rowvar=False), rtol=1e-7)


@pytest.mark.parametrize("rows", [np.zeros((2, 5)), np.zeros(4), np.full((2, 4), np.nan)])
def test_what_does_not_fit_is_refused(rows):
    with pytest.raises(ValueError, match="vectors"):
        Gaussian(4).add(rows)
