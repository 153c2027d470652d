import io
from dataclasses import replace

import pytest

from pipeline.display import Display, pool_line
from pipeline.follow import LegWaits
from pipeline.progress import LegSum, clock_text
from pipeline.run import LegEnd, LegStart, PoolShare, UnitDone
from pipeline.worker import StageTally, UnitTally

START = LegStart(
    leg="models",
    units=4,
    units_done=1,
    clips=40,
    clips_done=10,
    audio_ms=400_000,
    stages=("caption", "score"),
)


def done(unit, error=None):
    stages = [
        StageTally("caption", 10, 9, 100_000, 2.0, {"failed/undecodable": 1}),
        StageTally("score", 9, 6, 90_000, 1.0, {"filtered/low_clap": 3}),
    ]
    return UnitDone(
        leg="models",
        unit_id=unit,
        clips=10,
        outcomes={} if error else {"ok": 6, "filtered/low_clap": 3, "failed/undecodable": 1},
        audio_ms=60_000,
        tally=UnitTally(unit, [] if error else stages, [], error),
    )


def test_rates_and_time_to_go_count_this_start_only():
    now = [0.0]
    leg = LegSum(START, clock=lambda: now[0])
    now[0] = 5.0
    leg.add(done("a"))
    assert leg.clips_done == 20
    assert leg.clips_per_s == 2.0
    assert leg.audio_hours_per_hour == 20.0
    assert leg.eta_s == 10.0
    assert leg.stages["caption"].clips_per_busy_s == 5.0
    assert leg.ended_line() == "filtered/low_clap 3, failed/undecodable 1"


def test_a_unit_that_failed_counts_as_nothing_done():
    leg = LegSum(START)
    leg.add(done("a", error="stage caption: boom"))
    assert (leg.clips_done, leg.failed_units) == (10, 1)


def test_a_pool_is_told_by_its_busy_time_once_it_is_warm():
    now = [0.0]
    leg = LegSum(replace(START, pools=(PoolShare("models", 1, ("caption", "score")),)), clock=lambda: now[0])
    now[0] = 60.0  # Ray starts, models are loaded, the first unit is done
    leg.add(done("a"))
    assert leg.pool_uses() == []
    for unit in "bc":
        now[0] += 4.0  # of which 3 s in the stages
        leg.add(done(unit))
    (use,) = leg.pool_uses()
    assert use.busy == 0.75
    assert use.clips_per_busy_s == pytest.approx(20 / 6)
    assert pool_line(use) == (
        "  pool models: 1 worker busy 75 % of the time after the first unit; caption+score alone 3.3 clips/s a worker"
    )


def test_clock_text():
    assert [clock_text(s) for s in (None, 0, 61.4, 3723)] == ["-", "0:00", "1:01", "1:02:03"]


def test_plain_lines_when_not_a_terminal():
    out = io.StringIO()
    with Display(out) as display:
        display.show(START)
        display.show(done("a"))
        display.show(done("b", error="stage caption: boom"))
        display.show(LegEnd("models", 3.0, committed=1, undone=2, errors=["boom"]))
    text = out.getvalue()
    assert "\x1b" not in text
    assert "10 clips of 1 units done already" in text
    assert "unit b not committed: stage caption: boom" in text
    assert "filtered/low_clap 3" in text
    assert "2 units still to do" in text


def test_bars_on_a_terminal_leave_the_summary_behind():
    out = io.StringIO()
    with Display(out, live=True) as display:
        display.show(START)
        display.show(done("a"))
        display.show(LegEnd("models", 3.0, committed=1, undone=2))
    assert "leg models" in out.getvalue()
    assert "caption" in out.getvalue()


def test_a_leg_that_has_given_up_waiting_always_says_so():
    said = io.StringIO()
    with Display(said, live=False) as display:
        display.show(LegWaits("models", "waits for 3 units", 0.0))
        display.show(LegWaits("models", "waits for 3 units", 30.0))
        display.show(LegWaits("models", "waits for 3 units; given up waiting", 60.0, given_up=True))
    assert said.getvalue().count("waits for 3 units") == 2
    assert "given up waiting; nothing to do for 1:00" in said.getvalue()
