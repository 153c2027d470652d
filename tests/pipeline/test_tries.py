import os
import time

import pytest

from pipeline.tries import FORGOTTEN_S, Tries, last_begun_s
from pipeline.watchdog import crumbs

UNIT = "00000-00001"


@pytest.fixture
def run(tmp_path):
    yield str(tmp_path)
    for folder in crumbs(str(tmp_path)).glob("tries-*"):
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
    crumbs(str(tmp_path)).rmdir()


def begin_and_die(run, unit_id=UNIT, wave="wave1", group=0):
    """As a worker does that is ended half-way: the block is never left."""
    return Tries(run, wave, group, 2).begun(unit_id).__enter__()


def test_a_unit_that_was_begun_as_often_as_it_may_is_not_begun_again(run):
    assert [begin_and_die(run) for _ in range(3)] == [True, True, False]
    with Tries(run, "wave1", 0, 2).begun(UNIT) as may:
        assert not may


def test_what_was_ended_is_forgotten(run):
    assert begin_and_die(run)
    for _ in range(3):
        with Tries(run, "wave1", 0, 2).begun(UNIT) as may:
            assert may
    assert [begin_and_die(run) for _ in range(3)] == [True, True, False]


def test_other_units_groups_and_waves_are_counted_apart(run):
    assert [begin_and_die(run) for _ in range(3)] == [True, True, False]
    assert begin_and_die(run, f"{UNIT}.r1")
    assert begin_and_die(run, group=1)
    assert begin_and_die(run, wave="wave2")


def test_a_node_knows_when_it_began_a_unit(run):
    assert last_begun_s(run, UNIT) == 0
    before = time.time()
    begin_and_die(run, f"{UNIT}.r1")
    assert last_begun_s(run, UNIT) == 0
    begin_and_die(run, group=-1)
    assert last_begun_s(run, UNIT) >= before - 1
    with Tries(run, "wave1", -1, 2).begun(UNIT):
        pass
    assert last_begun_s(run, UNIT) == 0


def test_what_an_old_start_has_left_is_removed(run):
    begin_and_die(run, wave="old")
    old = crumbs(run) / "tries-old"
    long_ago = time.time() - FORGOTTEN_S - 10
    os.utime(old, (long_ago, long_ago))
    Tries(run, "new", 0, 2)
    assert not old.exists()


def test_a_folder_that_was_swept_away_under_a_wave_is_made_again(run):
    tries = Tries(run, "wave1", 0, 2)
    with tries.begun(UNIT):
        pass
    for folder in crumbs(run).glob("tries-*"):
        folder.rmdir()
    with tries.begun(UNIT) as may:
        assert may
