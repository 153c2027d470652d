"""Fréchet distance: against scipy's matrix root, torchmetrics' FID, and cases that can be done by hand."""

import numpy as np
import pytest
import scipy.linalg
import torch
from torchmetrics.image.fid import FrechetInceptionDistance

from generation.evaluation.frechet import frechet_distance, frechet_inf
from generation.evaluation.gaussian import Gaussian


def fitted(rows):
    return Gaussian(rows.shape[1]).add(rows)


def two_sets(count, dim, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, dim)) @ rng.normal(size=(dim, dim)), rng.normal(size=(count, dim)) * 2 + 0.5


@pytest.mark.parametrize(("count", "dim"), [(200, 8), (500, 64)])
def test_equals_the_formula_with_scipys_root(count, dim):
    one, other = two_sets(count, dim)
    first, second = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    apart = one.mean(axis=0) - other.mean(axis=0)
    wanted = apart @ apart + np.trace(first + second - 2 * scipy.linalg.sqrtm(first @ second).real)
    assert frechet_distance(fitted(one), fitted(other)) == pytest.approx(wanted, rel=1e-9)


class Rows(torch.nn.Module):
    num_features = 16

    def forward(self, images):
        return images


def test_equals_torchmetrics_fid():
    one, other = two_sets(300, 16)
    fid = FrechetInceptionDistance(feature=Rows(), normalize=True).set_dtype(torch.float64)
    fid.update(torch.from_numpy(one), real=True)
    fid.update(torch.from_numpy(other), real=False)
    assert frechet_distance(fitted(other), fitted(one)) == pytest.approx(float(fid.compute()), rel=1e-6)


def test_of_a_set_to_itself_it_is_zero_and_it_has_no_direction():
    one, other = two_sets(100, 12)
    assert frechet_distance(fitted(one), fitted(one)) == pytest.approx(0, abs=1e-9)
    there, back = frechet_distance(fitted(one), fitted(other)), frechet_distance(fitted(other), fitted(one))
    assert there == pytest.approx(back, rel=1e-9)


def test_a_shift_gives_its_length_squared():
    one, _ = two_sets(100, 5)
    shift = np.array([3.0, 0, 0, 4.0, 0])
    assert frechet_distance(fitted(one), fitted(one + shift)) == pytest.approx(25.0, rel=1e-9)


def test_in_one_dimension_deviations_are_subtracted():
    rows = np.array([[-1.0], [1.0]])  # deviation sqrt 2
    assert frechet_distance(fitted(rows), fitted(3 * rows + 1)) == pytest.approx(1 + (2 * np.sqrt(2)) ** 2)


def test_fewer_vectors_than_dimensions_is_no_trouble():
    """A singular covariance: what a vanishing addition to the diagonal tends to."""
    one, other = two_sets(10, 40)
    found = frechet_distance(fitted(one), fitted(other))
    first, second = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    tiny = 1e-9 * np.eye(40)
    root = scipy.linalg.sqrtm((first + tiny) @ (second + tiny)).real
    apart = one.mean(axis=0) - other.mean(axis=0)
    assert found == pytest.approx(apart @ apart + np.trace(first + second - 2 * root), rel=1e-3)
    assert frechet_distance(fitted(one), fitted(one)) == pytest.approx(0, abs=1e-6)


def test_what_has_no_distance_is_refused():
    one, _ = two_sets(10, 4)
    with pytest.raises(ValueError, match="two vectors"):
        frechet_distance(fitted(one[:1]), fitted(one))
    with pytest.raises(ValueError, match="of 3 and of 4"):
        frechet_distance(fitted(one[:, :3]), fitted(one))


def test_extrapolating_takes_off_what_few_vectors_add():
    """Two draws of one distribution: the distance is what sampling adds, and its limit is nearer to 0."""
    rng = np.random.default_rng(3)
    ours, reference = rng.normal(size=(600, 10)), fitted(rng.normal(size=(20_000, 10)))
    found = frechet_inf(ours, reference)
    assert abs(found.value) < frechet_distance(fitted(ours), reference) / 2
    assert 0.5 < found.r_squared <= 1
    assert frechet_inf(ours, reference) == found
    with pytest.raises(ValueError, match="too few"):
        frechet_inf(ours[:5], reference)
