import os
import time

import pytest

from pipeline.tries import FORGOTTEN_S, Tries
from pipeline.watchdog import crumbs


@pytest.fixture
def run(tmp_path):
    yield str(tmp_path)
    for folder in crumbs(str(tmp_path)).glob("tries-*"):
        folder.rmdir()
    crumbs(str(tmp_path)).rmdir()


def begin_and_die(tries, unit_id):
    """As a worker does that is ended half-way: the block is never left."""
    return tries.begun(unit_id).__enter__()


def test_a_unit_is_counted_until_it_has_been_worked(run):
    assert [begin_and_die(Tries(run, "wave1", 0), "00000-00001") for _ in range(2)] == [1, 2]
    with Tries(run, "wave1", 0).begun("00000-00001") as number:
        assert number == 3
    with Tries(run, "wave1", 0).begun("00000-00001") as number:
        assert number == 1


def test_other_units_groups_and_waves_are_counted_apart(run):
    begin_and_die(Tries(run, "wave1", 0), "00000-00001")
    for wave, group, unit_id in (("wave1", 0, "00000-00001.r1"), ("wave1", 1, "00000-00001"), ("w2", 0, "00000-00001")):
        with Tries(run, wave, group).begun(unit_id) as number:
            assert number == 1
    with Tries(run, "wave1", 0).begun("00000-00001") as number:
        assert number == 2


def test_what_an_old_start_has_left_is_removed(run):
    begin_and_die(Tries(run, "old", 0), "00000-00001")
    old = crumbs(run) / "tries-old"
    long_ago = time.time() - FORGOTTEN_S - 10
    os.utime(old, (long_ago, long_ago))
    Tries(run, "new", 0)
    assert not old.exists()
