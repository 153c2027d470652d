"""Gaps between cues become clips: the paper's rule, and what must hold for any transcript."""

from __future__ import annotations

import itertools
import random

import pytest

from stages.gaps import gaps, grid

RULE = {"gap_min_ms": 1000, "clip_max_ms": 10_000, "clip_min_ms": 1000}


def test_a_gap_must_be_longer_than_the_limit():
    assert gaps([(0, 1000), (2000, 3000)], 3000, **RULE) == []
    assert gaps([(0, 1000), (2001, 3000)], 3000, **RULE) == [(1000, 2001)]


def test_long_gaps_are_cut_and_short_remainders_left_out():
    assert gaps([(0, 1000), (24_000, 25_000)], 25_000, **RULE) == [
        (1000, 11_000),
        (11_000, 21_000),
        (21_000, 24_000),
    ]
    assert gaps([(0, 1000), (11_999, 13_000)], 13_000, **RULE) == [(1000, 11_000)]
    assert gaps([(0, 1000), (12_000, 13_000)], 13_000, **RULE) == [(1000, 11_000), (11_000, 12_000)]


def test_padding_keeps_away_from_speech_only():
    assert gaps([(4000, 6000)], 10_000, **RULE, pad_ms=250) == [(0, 3750), (6250, 10_000)]
    assert gaps([(0, 1000), (2400, 3000)], 3000, **RULE, pad_ms=250) == []  # 1400 ms of gap, 900 ms after padding


@pytest.mark.parametrize(
    ("leading", "trailing", "expected"),
    [
        (True, True, [(0, 4000), (6000, 10_000)]),
        (False, True, [(6000, 10_000)]),
        (True, False, [(0, 4000)]),
        (False, False, []),
    ],
)
def test_leading_and_trailing_gaps_by_switch(leading: bool, trailing: bool, expected: list[tuple[int, int]]):
    assert gaps([(4000, 6000)], 10_000, **RULE, leading=leading, trailing=trailing) == expected


def test_no_cover_is_one_gap():
    assert gaps([], 5000, **RULE) == [(0, 5000)]
    assert gaps([], 5000, **RULE, leading=False) == []


def test_cues_beyond_the_duration_are_cut_off():
    assert gaps([(4000, 9_000_000)], 10_000, **RULE) == [(0, 4000)]
    assert gaps([(20_000, 30_000)], 10_000, **RULE) == [(0, 10_000)]


def test_unknown_duration_ends_with_the_last_cue():
    assert gaps([(4000, 6000), (9000, 9500)], None, **RULE) == [(0, 4000), (6000, 9000)]
    assert gaps([], None, **RULE) == []


def test_grid():
    assert grid(25_000, 10_000, 1000, 60) == [(0, 10_000), (10_000, 20_000), (20_000, 25_000)]
    assert grid(20_999, 10_000, 1000, 60) == [(0, 10_000), (10_000, 20_000)]
    assert grid(None, 10_000, 1000, 2) == [(0, 10_000), (10_000, 20_000)]
    assert grid(0, 10_000, 1000, 2) == []


@pytest.mark.parametrize("seed", range(300))
def test_what_holds_for_any_transcript(seed: int):
    draw = random.Random(seed)
    cover = []
    for _ in range(draw.randint(0, 40)):
        start = draw.randint(0, 120_000)
        cover.append((start, start + draw.randint(1, 8000)))
    duration = draw.choice([None, draw.randint(1, 130_000)])
    rule = {
        "gap_min_ms": draw.randint(100, 3000),
        "clip_max_ms": draw.randint(1000, 12_000),
        "clip_min_ms": draw.randint(100, 1000),
    }
    pad, leading, trailing = draw.randint(0, 500), draw.random() < 0.5, draw.random() < 0.5
    clips = gaps(cover, duration, **rule, pad_ms=pad, leading=leading, trailing=trailing)
    end_of_source = duration if duration is not None else max((end for _, end in cover), default=0)

    assert clips == sorted(set(clips))
    for start, end in clips:
        assert type(start) is int
        assert type(end) is int
        assert 0 <= start < end <= end_of_source
        assert rule["clip_min_ms"] <= end - start <= rule["clip_max_ms"]
        assert all(end + pad <= s or start - pad >= e for s, e in cover if s < end_of_source)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(clips))
    # Nothing longer than the rule allows is left: every wide enough uncovered stretch holds a clip.
    silent = [
        t for t in range(0, end_of_source, 50) if not any(s - pad <= t < e + pad for s, e in cover if s < end_of_source)
    ]
    wide = rule["gap_min_ms"] + 2 * pad + rule["clip_min_ms"] + 100
    for run in _runs(silent, 50):
        inner = run[0] > 0 and run[1] < end_of_source - 50
        if inner and run[1] - run[0] > wide:
            assert any(run[0] - 50 <= s <= run[1] + 50 for s, _ in clips)


def _runs(times: list[int], step: int) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for t in times:
        if runs and t - runs[-1][1] == step:
            runs[-1] = (runs[-1][0], t)
        else:
            runs.append((t, t))
    return runs
