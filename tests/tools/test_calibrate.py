import importlib.util
from pathlib import Path

import numpy as np
import pytest

from scorer.measure import calibrate
from scorer.sounds import Sound

PATH = Path(__file__).parents[2] / "tools" / "calibrate.py"
spec = importlib.util.spec_from_file_location("calibrate", PATH)
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)


def test_yields_are_counted_as_the_paper_counts_them():
    scores = np.linspace(0, 1, 1001)
    assert tool.yields(scores, calibrate(scores)) == pytest.approx({"AutoReCapXL": 82, "MQ": 44, "HQ": 22.8}, abs=0.2)


def test_scenes_are_captioned_and_scored_and_dropped_captions_have_no_score():
    time_s = np.arange(16_000, dtype=np.float32) / 16_000
    sounds = [
        Sound(
            (0.3 * np.sin(2 * np.pi * 700 * time_s * (1 + time_s))).astype(np.float32), "a siren", "p", "sfx", "siren"
        ),
        Sound(0.1 * np.random.default_rng(0).normal(size=16_000).astype(np.float32), "rain", "p", "sfx", "rain"),
    ]
    scores, captioner = tool.own_scores(sounds, 3)
    again, _ = tool.own_scores(sounds, 3)
    assert captioner.startswith("autorecap-captioner-small@")
    assert scores.shape == (3,)
    assert np.all(np.isnan(scores) | (np.abs(scores) <= 1))
    np.testing.assert_array_equal(scores, again)
