"""KL of classes heard: against torch's kl_div as AudioLDM's evaluation calls it, and what pairs there must be."""

import numpy as np
import pytest
import torch
from torch.nn.functional import kl_div

from generation.errors import GenerationError
from generation.evaluation.kl import divergence, paired

RNG = np.random.default_rng(0)
OURS, THEIRS = RNG.normal(size=(2, 12, 30)) * 3


@pytest.mark.parametrize("way", ["softmax", "sigmoid"])
def test_equals_torchs_kl_div(way):
    read = {"softmax": lambda logits: torch.from_numpy(logits).softmax(dim=1),
            "sigmoid": lambda logits: torch.from_numpy(logits).sigmoid()}[way]  # fmt: skip
    wanted = kl_div((read(OURS) + 1e-6).log(), read(THEIRS), reduction="sum") / len(OURS)
    assert getattr(divergence(OURS, THEIRS), way).mean() == pytest.approx(float(wanted), rel=1e-9)


def test_of_a_sound_to_itself_it_is_nothing():
    found = divergence(OURS, OURS)
    assert np.abs(found.softmax).max() < 1e-4
    assert np.abs(found.sigmoid).max() < 1e-4


def test_classes_that_are_never_heard_cost_nothing():
    sure = np.full((1, 3), -1e4)
    sure[0, 1] = 1e4
    assert divergence(sure, sure).softmax[0] == pytest.approx(0, abs=1e-5)
    assert np.isfinite(divergence(-sure, sure).softmax[0])


def test_pairs_are_by_name_in_whatever_order():
    ours = {"b": OURS[0], "a": OURS[1]}
    theirs = {"a": THEIRS[1], "x": THEIRS[5], "b": THEIRS[0]}
    np.testing.assert_array_equal(paired(ours, theirs)[1], THEIRS[:2])


def test_sounds_without_a_pair_are_named():
    ours = {f"clip {k}": OURS[0] for k in range(8)}
    with pytest.raises(GenerationError, match=r"7 of 8 .*\(clip 1, clip 2, clip 3, clip 4, clip 5, …\)"):
        paired(ours, {"clip 0": OURS[0]})
    with pytest.raises(GenerationError, match="0 of 0"):
        paired({}, {})


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        divergence(OURS, THEIRS[:5])
