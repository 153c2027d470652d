"""Trials without Ray: the process that runs the stages, and how its end is told."""

import pytest

from benchmarks.synthetic import write_plan
from corpus import units
from corpus.store import Store
from pipeline.config import Recipe
from pipeline.isolate import Crash, Death
from pipeline.run import leg_job
from pipeline.trial import Trial

HERE = "tests.pipeline.trial_stages"
UNIT = "00000-00000"


@pytest.fixture
def trial(tmp_path):
    """`trial(*stages)`: a trial of a leg with these stages, and the unit before them."""
    made = []

    def make(*stages):
        store = Store(str(tmp_path))
        write_plan(store, 1, 4)
        legs = {"fetch": {"stages": [{"use": f"{HERE}:Trial"}, *stages]}}
        recipe = Recipe.model_validate({"name": "trial", "run": str(tmp_path), "legs": legs})
        made.append(Trial(leg_job(store, recipe, "fetch"), 0))
        death, unit = made[0].read(UNIT)
        assert death is None
        return made[0], unit

    yield make
    for one in made:
        one.close()


def kills(how, *rows, **options):
    return {"use": f"{HERE}:Kills", "rows": list(rows), "how": how, **options}


def test_a_unit_that_lives_is_committed(trial, tmp_path):
    one, unit = trial()
    assert len(one.live(unit)) == 4
    death, row = one.whole(unit, {})
    assert death is None
    assert (row.column("unit_id")[0].as_py(), row.column("committed")[0].as_py()) == (UNIT, True)
    assert units.done_units(Store(str(tmp_path)), "fetch", root=True) == {UNIT}


@pytest.mark.parametrize(
    ("how", "cause", "outside"),
    [
        ("segfault", "was ended by SIGSEGV", False),
        ("exit", "ended itself with exit code 11", False),
        ("killed", "was ended by SIGKILL", True),
    ],
)
def test_a_death_is_told_with_its_stage_and_cause_and_the_next_try_has_a_process_of_its_own(trial, how, cause, outside):
    one, unit = trial(kills(how, 1))
    assert one.whole(unit, {}) == (Death(f"{HERE}:Kills", cause, outside=outside), None)
    clips = [clip.clip_id for clip in one.live(unit)]
    assert one.part(unit, [clips[0], clips[3]], 0.5) == (None, None)
    assert one.part(unit, clips[:2], 0.5)[0].cause == cause
    death, row = one.whole(unit, {clips[1]: Crash(f"{HERE}:Kills", "it kills")})
    assert death is None
    assert "failed/crashed" in row.column("outcomes")[0].as_py()


def test_a_limit_that_is_passed_names_the_clip(trial):
    one, unit = trial(kills("hang", 1, limit_s=0.2))
    death, _ = one.whole(unit, {})
    assert death == Death(f"{HERE}:Kills", "was ended: decode took longer than 0.2 s", one.live(unit)[1].clip_id)


def test_who_asks_a_site_in_a_trial_waits_for_the_governors_turn(trial, tmp_path):
    one, unit = trial({"use": f"{HERE}:Asks"})
    assert one.whole(unit, {})[0] is None
    assert units.read_root_unit(Store(str(tmp_path)), UNIT).column("caption")[0].as_py() == "example.org as guest"
