"""What a leg has to do: shares of drivers, parts that come later, another plan under the corpus."""

from itertools import pairwise

import pytest

from benchmarks.synthetic import write_plan
from corpus import plan_store, units
from corpus.store import Store
from pipeline.config import Recipe
from pipeline.follow import WORTH_A_WAVE, LegWaits, Waves
from pipeline.runfolder import OtherRun
from pipeline.todo import NEIGHBOURS, Partition, Todo

HERE = "tests.pipeline.trial_stages"


def recipe(run):
    legs = {
        "fetch": {"stages": [{"use": f"{HERE}:Trial"}]},
        "models": {"after": "fetch", "stages": [{"use": f"{HERE}:Caption"}]},
    }
    return Recipe.model_validate({"name": "trial", "run": str(run), "legs": legs})


def planned(run, count, part="00000"):
    store = Store(str(run))
    write_plan(store, count, 2, part)
    return store


def commit(store, *unit_ids):
    for unit_id in unit_ids:
        rows = plan_store.read_unit(store, unit_id)
        ended = rows.append_column("outcome", [["failed"] * 2]).append_column("reason", [["gone"] * 2])
        meta = units.UnitMeta("fetch", "", plan_store.part_sha256(store, plan_store.part_of(unit_id)))
        units.commit_root(store, rows, ended, meta)


def ids(todo):
    return [info.unit_id for info in todo.units()]


def test_shares_are_whole_and_keep_neighbours_together():
    numbers = [f"{part:05d}-{at:05d}" for part in range(4) for at in range(20 * NEIGHBOURS)]
    shares = [Partition.parse(f"{at}/7") for at in range(1, 8)]
    owners = [[share.number for share in shares if share.has(unit_id)] for unit_id in numbers]
    assert all(len(found) == 1 for found in owners)
    assert {found[0] for found in owners} == set(range(1, 8))
    changes = [at for at, (one, other) in enumerate(pairwise(owners), 1) if one != other]
    assert all(at % NEIGHBOURS == 0 for at in changes)
    assert all(Partition(3, 7).has("00001-00033") == Partition(3, 7).has(f"00001-00033{retry}") for retry in (".r1",))


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "a/b", "1/2/3", "-1/2"])
def test_what_is_no_share_is_refused(text):
    with pytest.raises(ValueError, match="write i/n"):
        Partition.parse(text)


def test_a_leg_takes_what_the_leg_before_has_committed(tmp_path):
    store = planned(tmp_path, 4)
    commit(store, "00000-00001", "00000-00002")
    models = Todo(store, recipe(tmp_path), "models")
    assert ids(models) == ["00000-00001", "00000-00002"]
    models.given_up.add("00000-00001")
    assert ids(models) == ["00000-00002"]
    assert models.undone() == 4
    assert ids(Todo(store, recipe(tmp_path), "fetch")) == ["00000-00000", "00000-00003"]


def test_a_corpus_of_another_plan_is_refused(tmp_path):
    store = planned(tmp_path, 3)
    commit(store, "00000-00001")
    data = store.read(plan_store.units_path("00000"))
    planned(tmp_path / "other", 4)
    store.replace(plan_store.units_path("00000"), Store(str(tmp_path / "other")).read(plan_store.units_path("00000")))
    for leg in ("fetch", "models"):
        with pytest.raises(OtherRun, match="part 00000 of the plan"):
            ids(Todo(store, recipe(tmp_path), leg))
    store.replace(plan_store.units_path("00000"), data)
    assert ids(Todo(store, recipe(tmp_path), "models")) == ["00000-00001"]


def waves(store, leg, on_wait, size=100, follow=True):
    """The waves' unit ids; `on_wait` is what happens in the world while the leg waits."""
    now_s = [0.0]

    def sleep(seconds):
        now_s[0] += seconds
        on_wait(now_s[0])

    run = Waves(Todo(store, recipe(store.root), leg), size, follow, 3600.0, lambda: now_s[0], sleep)
    said = []
    for wave in run:
        if isinstance(wave, LegWaits):
            said.append(wave.text)
            continue
        said.append([info.unit_id for info in wave])
        commit(store, *said[-1])
    return said


def test_a_leg_that_follows_takes_parts_as_they_are_planned(tmp_path):
    store = planned(tmp_path, 3)
    plan_store.write_inputs(store, "00000", plan_store.SOURCES.empty_table())
    plan_store.write_inputs(store, "00001", plan_store.SOURCES.empty_table())
    said = waves(store, "fetch", lambda now_s: planned(tmp_path, 2, "00001") if now_s == 10.0 else None)
    assert said[0] == said[1] == "waits for 1 parts of the plan (autorecap plan)"
    assert said[2:] == [[*(f"00000-{at:05d}" for at in range(3)), "00001-00000", "00001-00001"]]


def test_without_follow_a_leg_does_what_is_there_and_ends(tmp_path):
    store = planned(tmp_path, 3)
    plan_store.write_inputs(store, "00001", plan_store.SOURCES.empty_table())
    assert waves(store, "fetch", pytest.fail, size=2, follow=False) == [
        ["00000-00000", "00000-00001"],
        ["00000-00002"],
    ]


def test_few_units_wait_a_while_for_more_but_not_for_ever(tmp_path):
    store = planned(tmp_path, 3)
    plan_store.write_inputs(store, "00001", plan_store.SOURCES.empty_table())
    said = waves(store, "fetch", lambda now_s: None)
    at = said.index([f"00000-{number:05d}" for number in range(3)])
    assert 0 < at < 100
    assert said[-1].endswith("given up waiting")


def test_enough_units_are_begun_at_once(tmp_path):
    store = planned(tmp_path, WORTH_A_WAVE)
    plan_store.write_inputs(store, "00001", plan_store.SOURCES.empty_table())
    assert len(waves(store, "fetch", lambda now_s: None)[0]) == WORTH_A_WAVE
