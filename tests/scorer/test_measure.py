import numpy as np
import pytest

from scorer.measure import auc, calibrate, measure, sound_to_text, text_to_sound, with_interval
from scorer.sounds import Sound


def test_auc_counts_ties_half():
    assert auc(np.array([2.0, 3.0]), np.array([0.0, 1.0])) == 1.0
    assert auc(np.array([1.0]), np.array([1.0])) == 0.5


def test_thresholds_keep_the_papers_shares():
    scores = np.linspace(0, 1, 1001)
    kept = {name: float((scores >= limit).mean()) for name, limit in calibrate(scores).items()}
    assert abs(kept["AutoReCapXL"] - 0.82) < 0.01
    assert abs(kept["MQ"] - 0.36) < 0.01
    assert abs(kept["HQ"] - 0.187) < 0.01


def test_recall_both_ways_beside_chance():
    own = np.array([0, 0, 1, 2])
    scores = np.eye(3)[own] + 0.01 * np.arange(12).reshape(4, 3)
    there, back = sound_to_text(scores, own), text_to_sound(scores, own)
    assert there["recall_at_1_percent"] == back["recall_at_1_percent"] == 100
    assert there["chance_at_1_percent"] == pytest.approx(33.3)
    assert back["chance_at_1_percent"] == pytest.approx(100 * (2 + 1 + 1) / 4 / 3, abs=0.1)
    assert there["chance_at_5_percent"] == 100
    worst = sound_to_text(-scores, own)
    assert worst["recall_at_1_percent"] == 0


def test_an_interval_holds_its_figure_and_is_the_same_each_time():
    value, low, high = with_interval(lambda rows: float(rows.mean()), 50)
    assert low < value == 24.5 < high
    assert with_interval(lambda rows: float(rows.mean()), 50) == (value, low, high)


class Perfect:
    """Hears the constant that a wave is and reads the letter that a caption is."""

    def embed_audio(self, waves):
        return np.eye(3)[[int(wave[0]) for wave in waves]]

    def embed_text(self, texts):
        return np.eye(3)[["abc".index(text) for text in texts]]


def test_a_set_is_measured_and_what_training_never_named_apart():
    sounds = [Sound(np.full(4, k % 3), "abc"[k % 3], "p", "sfx", "n") for k in range(9)]
    found = measure(Perfect(), sounds, {"a", "b"})
    assert (found["clips"], found["captions"], found["auc"]) == (9, 3, 1.0)
    assert found["auc_95"] == [1.0, 1.0]
    assert found["text_to_sound"]["recall_at_1_percent"] == 100
    assert found["unheard"]["clips"] == 3
