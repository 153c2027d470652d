from fractions import Fraction

from audio.clock import Clock, Stamp, agreed_start, make_clock

MS = Fraction(1, 1000)


def test_exact_ticks_are_samples():
    stamps = [Stamp(1024 * k, 1024) for k in range(8)]
    clock = make_clock(44100, Fraction(1, 44100), Fraction(0), "aac", stamps)
    assert clock.grid is None
    assert not clock.counted
    assert clock.position(7 * 1024) == 7 * 1024


def test_a_late_start_is_position_zero_and_a_run_in_lies_before_it():
    late = make_clock(1000, MS, Fraction(1, 2), "pcm_s16le", [Stamp(500, 100), Stamp(600, 100)])
    assert late.position(500) == 0
    run_in = make_clock(1000, MS, Fraction(-1, 10), "pcm_s16le", [Stamp(-100, 100), Stamp(0, 100)])
    assert run_in.position(-100) == -100


def test_rounded_stamps_snap_to_opus_grid():
    starts = [0] + [648 + 960 * k for k in range(400)]
    stamps = [Stamp(0, 648)] + [Stamp(round(start / 48 + 0.01), 960) for start in starts[1:24]]
    clock = make_clock(48000, MS, Fraction(-7, 1000), "opus", stamps)
    assert [clock.position(round(start / 48 + 0.01)) for start in starts] == starts


def test_rounding_kept_under_a_finer_tick_is_undone():
    starts = [1024 * k for k in range(500)]
    rounded = [round(round(start / 44.1) * 44.1) for start in starts]
    stamps = [Stamp(pts, 1024) for pts in rounded[:24]]
    clock = make_clock(44100, Fraction(1, 44100), Fraction(0), "aac", stamps)
    assert [clock.position(pts) for pts in rounded] == starts


def test_a_real_hole_is_kept():
    pts = [1024 * k for k in range(10)] + [1024 * k for k in range(15, 20)]
    clock = make_clock(44100, Fraction(1, 44100), Fraction(0), "aac", [Stamp(p, 1024) for p in pts])
    assert [clock.position(p) for p in pts] == pts


def test_stamps_that_cannot_be_resolved_are_counted():
    stamps = [Stamp(k * 40 // 48, 40) for k in range(24)]  # frames shorter than a tick
    assert make_clock(48000, MS, Fraction(0), "pcm_s16le", stamps).counted


def test_most_stamps_decide_where_counting_starts():
    clock = Clock(44100, Fraction(1, 44100), counted=True)
    stamps = [Stamp(448, 576), Stamp(576, 128), Stamp(704, 128), Stamp(832, 1024)]
    assert agreed_start(clock, stamps) == 0


def test_pts_before_is_before():
    clock = Clock(48000, MS, zero=480)
    for position in (-500, 0, 1, 47, 48, 100_000):
        assert clock.position(clock.pts_before(position)) <= position


def test_no_frames_give_a_plain_clock():
    assert make_clock(48000, MS, Fraction(0), "opus", []).position(10) == 480
