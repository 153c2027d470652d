import numpy as np
import pytest

from scorer.windows import check, level, pool, windows


def test_a_short_clip_is_repeated():
    (only,) = windows(np.array([1.0, 2.0, 3.0]), 7)
    assert only.tolist() == [1, 2, 3, 1, 2, 3, 1]


def test_a_clip_of_rounding_length_is_cut():
    assert [w.size for w in windows(np.zeros(1010), 1000)] == [1000]


def test_a_long_clip_is_covered_by_evenly_spread_windows():
    parts = windows(np.arange(2500), 1000)
    assert [int(p[0]) for p in parts] == [0, 750, 1500]
    assert parts[-1][-1] == 2499


@pytest.mark.parametrize("bad", [np.zeros(0), np.zeros((2, 5)), np.array([0.0, np.nan]), np.array([np.inf])])
def test_what_cannot_be_heard_is_refused(bad):
    with pytest.raises(ValueError, match="wave"):
        check(bad)


def test_level_changes_loudness_only():
    wave = np.array([0.01, -0.02], dtype=np.float32)
    assert np.allclose(level(wave), [0.2, -0.4])
    assert level(np.zeros(3)).tolist() == [0, 0, 0]


def test_pooled_vectors_have_unit_length():
    assert np.allclose(pool([np.array([1.0, 0.0]), np.array([0.0, 1.0])]), [2**-0.5, 2**-0.5])


def test_a_very_short_clip_is_repeated_with_silence_between():
    knock = np.ones(100, dtype=np.float32)
    (heard,) = windows(knock, 1000, period=400)
    assert np.array_equal(np.flatnonzero(heard), np.r_[0:100, 400:500, 800:900])
    assert np.array_equal(windows(np.ones(500, np.float32), 1000, period=400)[0], np.ones(1000))
