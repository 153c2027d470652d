"""Whole file or ranges: what is expected of each follows from the source and the recipe."""

from __future__ import annotations

import pytest

from stages.ranges import FIRST_BYTES, RangeCosts, expected_of_ranges

HOUR_MS = 3_600_000
HOUR_BYTES = 57_600_000  # 128 kbit/s
NEAR = RangeCosts(mb_per_s=20, latency_ms=50, requests_per_s=1000)


def share(part: float) -> list[tuple[int, int]]:
    """Clips of 10 s, evenly spread, that make up this part of an hour."""
    count = round(part * 360)
    return [(at * HOUR_MS // count, at * HOUR_MS // count + 10_000) for at in range(count)]


def pays(
    costs: RangeCosts, spans, ext: str = "m4a", duration_ms: int = HOUR_MS, size_bytes: float = HOUR_BYTES
) -> bool:
    return costs.ranges_pay(spans, duration_ms=duration_ms, size_bytes=size_bytes, ext=ext)


def test_little_of_a_long_source_pays_and_much_of_it_does_not():
    assert pays(NEAR, share(0.01))
    assert not pays(NEAR, share(0.5))
    wanted = [part / 100 for part in range(1, 60) if pays(NEAR, share(part / 100))]
    assert wanted == sorted(wanted)
    assert wanted == [part / 100 for part in range(1, len(wanted) + 1)]  # one break-even


def test_a_song_is_fetched_whole():
    for costs in (NEAR, RangeCosts(mb_per_s=20, latency_ms=50, requests_per_s=1)):
        assert not pays(costs, [(60_000, 70_000)], duration_ms=240_000, size_bytes=3_840_000)


def test_a_slow_pace_makes_requests_dear():
    slow = RangeCosts(mb_per_s=20, latency_ms=50, requests_per_s=1)
    assert not pays(slow, share(0.01))
    assert pays(slow, [(0, 10_000)], size_bytes=100 * HOUR_BYTES)
    far = RangeCosts(mb_per_s=20, latency_ms=2000, requests_per_s=1000)
    assert not pays(far, share(0.01))


def test_a_container_that_is_read_from_its_start_pays_for_its_beginning_only():
    assert pays(NEAR, [(0, 10_000), (60_000, 70_000)], ext="mp3")
    assert not pays(NEAR, [(HOUR_MS - 20_000, HOUR_MS - 10_000)], ext="mp3")


def test_neighbours_are_one_stretch():
    apart = expected_of_ranges(
        [(0, 10_000), (1_000_000, 1_010_000)], duration_ms=HOUR_MS, size_bytes=HOUR_BYTES, ext="webm"
    )
    near = expected_of_ranges([(0, 10_000), (15_000, 25_000)], duration_ms=HOUR_MS, size_bytes=HOUR_BYTES, ext="webm")
    assert near.requests <= apart.requests
    assert near.size_bytes < apart.size_bytes


@pytest.mark.parametrize("ext", ["m4a", "webm", "opus", "flac", "wav", "mp3"])
def test_never_more_bytes_than_the_file_has(ext: str):
    everything = expected_of_ranges(share(1.0), duration_ms=HOUR_MS, size_bytes=HOUR_BYTES, ext=ext)
    assert everything.size_bytes <= HOUR_BYTES
    small = expected_of_ranges([(0, 1000)], duration_ms=2000, size_bytes=FIRST_BYTES / 8, ext=ext)
    assert small.size_bytes <= FIRST_BYTES / 8
