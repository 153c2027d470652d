from dataclasses import dataclass
from fractions import Fraction

from audio.clock import Clock
from audio.timeline import placed


@dataclass
class Frame:
    pts: int | None
    samples: int


TICK = Fraction(1, 1000)


def places(frames, *, counted):
    return [position for position, _ in placed(iter(frames), Clock(1000, TICK, counted=counted))]


def test_stamped_frames_lie_where_they_say_and_unstamped_ones_follow():
    assert places([Frame(0, 100), Frame(None, 100), Frame(300, 100)], counted=False) == [0, 100, 300]


def test_unstamped_frames_before_any_stamp_have_no_place():
    assert places([Frame(None, 100), Frame(50, 100)], counted=False) == [50]


def test_counted_frames_ignore_a_slip():
    frames = [Frame(0, 100), Frame(100, 100), Frame(280, 100), Frame(300, 100), Frame(400, 100)]
    assert places(frames, counted=True) == [0, 100, 200, 300, 400]


def test_counted_frames_follow_a_hole_that_lasts():
    frames = [Frame(100 * k, 100) for k in range(20)] + [Frame(2500 + 100 * k, 100) for k in range(6)]
    assert places(frames, counted=True)[-3:] == [2800, 2900, 3000]


def test_no_stamp_at_all_gives_nothing():
    assert places([Frame(None, 100)], counted=True) == []
