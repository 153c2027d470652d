"""The search for clips that kill, on plain data: no process dies here (tests/pipeline/test_crashes.py lets them)."""

import pytest

from pipeline.isolate import COMMIT, OPEN, READ, Clip, Crash, Death, Isolation, SetupFault, Streak, UnitFault

SEGFAULT = Death("cut", "was ended by SIGSEGV")


def clips(count, per_source=1):
    return [Clip(f"c{at:03d}", f"s{at // per_source}") for at in range(count)]


class Worker:
    """Dies when `kills(ids)` says how. Keeps what it was asked."""

    def __init__(self, unit, kills):
        self.unit, self.kills, self.wholes, self.parts = unit, kills, 0, []

    def whole(self, crashed):
        self.wholes += 1
        return self.kills([clip.clip_id for clip in self.unit if clip.clip_id not in crashed])

    def part(self, some, share):
        assert 0 < share <= 1
        self.parts.append([clip.clip_id for clip in some])
        return self.kills(self.parts[-1])


def poison(*guilty, named=False):
    def kills(ids):
        hit = [clip_id for clip_id in ids if clip_id in guilty]
        return Death("cut", "was ended by SIGSEGV", hit[0] if named else None) if hit else None

    return kills


def search(unit, kills, limit=5):
    worker = Worker(unit, kills)
    return Isolation("00000-00001", unit, worker, Streak(limit)).run(), worker


def test_a_unit_that_lives_is_worked_once():
    found, worker = search(clips(8), poison())
    assert (found, worker.wholes, worker.parts) == ({}, 1, [])


@pytest.mark.parametrize("guilty", [["c000"], ["c077"], ["c127"], ["c003", "c004"], ["c000", "c064", "c127"]])
def test_halving_finds_exactly_the_clips_that_kill(guilty):
    found, worker = search(clips(128), poison(*guilty))
    assert sorted(found) == guilty
    assert found[guilty[0]] == Crash("cut", "the worker was ended by SIGSEGV while it worked on this clip alone")
    assert len(worker.parts) <= len(guilty) * (2 * 7 + 1)
    assert worker.wholes == 2


def test_a_clip_that_the_stage_has_named_is_judged_at_once():
    found, worker = search(clips(128), poison("c077", named=True))
    assert sorted(found) == ["c077"]
    assert worker.parts == [["c077"], ["c077"]]


def test_a_clip_that_is_named_but_lives_alone_is_not_guilty():
    found, _ = search(clips(8), lambda ids: Death("cut", "died", "c001") if "c005" in ids else None)
    assert sorted(found) == ["c005"]


def test_every_clip_of_one_poison_file_is_found():
    unit = clips(12, per_source=12)
    found, _ = search(unit, poison(*(clip.clip_id for clip in unit)))
    assert len(found) == 12


def test_a_death_that_does_not_come_again_ends_no_clip():
    deaths = iter([SEGFAULT, None, SEGFAULT, None, None, None])
    found, _ = search(clips(2), lambda ids: next(deaths))
    assert found == {}


def test_a_unit_that_dies_only_as_a_whole_is_left_undone():
    with pytest.raises(UnitFault, match=r"SIGSEGV in stage cut, 3 times.*left undone"):
        search(clips(8), lambda ids: SEGFAULT if len(ids) > 5 else None)


@pytest.mark.parametrize("stage", [READ, COMMIT])
def test_a_death_with_no_clip_in_hand_is_the_units(stage):
    with pytest.raises(UnitFault, match=f"was to {stage}"):
        search(clips(2), lambda ids: Death(stage, "was ended by SIGSEGV"))


def test_stages_that_cannot_be_opened_are_a_fault_of_the_set_up():
    with pytest.raises(SetupFault, match="before it was given any clip"):
        search(clips(2), lambda ids: Death(OPEN, "was ended by SIGILL"))


def test_a_signal_from_outside_is_not_the_clips_doing():
    killed = Death("cut", "was ended by SIGKILL", outside=True)
    deaths = iter([killed, killed, None])
    assert search(clips(2), lambda ids: next(deaths))[0] == {}
    with pytest.raises(SetupFault, match="SIGKILL 3 times, in stage cut"):
        search(clips(2), lambda ids: killed)


def test_a_stage_that_dies_of_every_clip_is_a_fault_of_the_set_up():
    with pytest.raises(SetupFault, match="of 5 sources"):
        search(clips(40, per_source=2), lambda ids: SEGFAULT if ids else None)


def test_the_streak_goes_on_from_unit_to_unit_and_ends_with_a_survivor():
    streak = Streak(3)
    for at in range(2):
        unit = [Clip(f"u{at}", f"s{at}")]
        assert Isolation("u", unit, Worker(unit, lambda ids: SEGFAULT if ids else None), streak).run()
    assert len(streak.sources) == 2
    unit = clips(2)
    assert Isolation("u", unit, Worker(unit, poison("c000")), streak).run()
    assert not streak.sources


def test_many_bad_sources_are_believed_where_others_live():
    unit = clips(16)
    found, _ = search(unit, poison(*(clip.clip_id for clip in unit[:8])))
    assert len(found) == 8
