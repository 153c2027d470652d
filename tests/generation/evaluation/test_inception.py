"""Inception Score: against torchmetrics, AudioLDM's rule for parts written out, and cases done by hand."""

import numpy as np
import pytest
import torch
from torchmetrics.image.inception import InceptionScore

from generation.evaluation.inception import inception_score

LOGITS = np.random.default_rng(0).normal(size=(103, 20)) * 2


def test_in_one_part_equals_torchmetrics():
    score = InceptionScore(feature=torch.nn.Identity(), splits=1).set_dtype(torch.float64)
    score.update(torch.from_numpy(LOGITS))
    assert inception_score(LOGITS, splits=1).mean == pytest.approx(float(score.compute()[0]), rel=1e-9)


def test_parts_are_those_of_the_shuffle_with_seed_2020():
    probabilities = torch.from_numpy(LOGITS)[np.random.RandomState(2020).permutation(103)].softmax(dim=1)
    scores = []
    for part in range(10):
        p = probabilities[part * 103 // 10 : (part + 1) * 103 // 10]
        scores.append(float((p * (p.log() - p.mean(dim=0).log())).sum(dim=1).mean().exp()))
    found = inception_score(LOGITS)
    assert found.mean == pytest.approx(np.mean(scores), rel=1e-12)
    assert found.std == pytest.approx(np.std(scores), rel=1e-9)


def test_sure_of_as_many_classes_as_there_are_sounds_in_a_part():
    sure = 1000.0 * np.tile(np.eye(4), (10, 1))
    assert inception_score(sure, splits=1).mean == pytest.approx(4.0)


def test_all_alike_is_one():
    assert inception_score(np.tile(LOGITS[:1], (30, 1))).mean == pytest.approx(1.0)


def test_too_few_sounds_are_refused():
    with pytest.raises(ValueError, match="needs 10 sounds; there are 9"):
        inception_score(LOGITS[:9])
