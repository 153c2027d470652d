from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa
import pytest

from benchmarks.synthetic import write_plan
from corpus import plan_store, units
from corpus.store import Store
from pipeline.chain import Link
from pipeline.config import Recipe
from pipeline.legjob import commit, cut_into_groups, read_unit, read_unit_or_say
from pipeline.run import leg_job
from pipeline.worker import UnitRunner, UnitTally
from stages.base import Needs


@dataclass
class Plain:
    reads: ClassVar = ()
    adds: ClassVar = pa.schema([])

    def needs(self):
        return Needs()


class Model(Plain):
    def needs(self):
        return Needs(model=True)


def groups(*chain):
    links = [Link(name, Model() if name.isupper() else Plain(), pool) for name, pool in chain]
    cut = cut_into_groups(links, [(name, {}) for name, _ in chain])
    return [(group.pool, "".join(use for use, _ in group.stages)) for group in cut]


@pytest.mark.parametrize(
    ("chain", "expected"),
    [
        ("abc", [(None, "abc")]),
        ("lECjkS", [(None, "l"), ("m", "ECjkS")]),  # what stands between two models rides along
        ("lEaZ", [(None, "l"), ("m", "EaZ")]),
        ("Eab", [("m", "E"), (None, "ab")]),
    ],
)
def test_a_chain_is_cut_where_workers_change(chain, expected):
    assert groups(*[(letter, "m") for letter in chain]) == expected


def test_two_pools_stay_apart():
    chain = [("l", "m"), ("E", "clap"), ("C", "caption"), ("j", "m"), ("S", "clap")]
    assert groups(*chain) == [(None, "l"), ("clap", "E"), ("caption", "C"), (None, "j"), ("clap", "S")]


UNIT = "00000-00000"
META = units.UnitMeta("any", "recipe", "part")


def run_of_three_legs(folder):
    """A unit that `fetch` and `first` have committed, and the job of `third`."""
    store = Store(str(folder))
    write_plan(store, 1, 3)
    stages = [{"use": "keywords"}]
    legs = {"fetch": {"stages": [{"use": "fetch"}]}}
    legs |= {name: {"after": after, "stages": stages} for name, after in (("first", "fetch"), ("second", "first"))}
    legs["third"] = {"after": "second", "stages": stages}
    recipe = Recipe.model_validate({"name": "trial", "run": str(folder), "legs": legs})
    planned = plan_store.read_unit(store, UNIT)
    nothing = pa.nulls(3, pa.string())
    live = planned.append_column("outcome", nothing).append_column("reason", nothing)
    units.commit_root(store, planned, live, META)
    for leg in ("first", "second"):
        typed = pa.field(f"of_{leg}", pa.string())
        rows = live.append_column(typed, pa.array([leg] * 3))
        if leg == "second":
            rows = rows.set_column(rows.column_names.index("outcome"), "outcome", pa.array([None, "filtered", None]))
            rows = rows.set_column(rows.column_names.index("reason"), "reason", pa.array([None, "silent", None]))
        units.commit_columns(store, leg, planned, rows, pa.schema([typed]), META)
    return store, leg_job(store, recipe, "third")


def test_a_leg_reads_the_columns_of_all_legs_before_it(tmp_path):
    _, job = run_of_three_legs(tmp_path)
    unit = read_unit(job, UNIT)
    assert unit.column("of_first").to_pylist() == ["first"] * 3
    assert unit.column("of_second").to_pylist() == ["second"] * 3
    assert unit.column("outcome").to_pylist() == [None, "filtered", None]


def test_a_unit_that_cannot_be_read_says_so_to_the_driver_and_is_not_committed(tmp_path):
    store, job = run_of_three_legs(tmp_path)
    (tmp_path / units.columns_path("first", UNIT)).write_bytes(b"PAR1 damaged")
    unit = commit(job, UnitRunner(job.links(0), job.services(0)).run(read_unit_or_say(job, UNIT)))
    (row,) = unit.to_pylist()
    tally = UnitTally.from_json(row["tally"])
    assert (row["unit_id"], row["committed"]) == (UNIT, False)
    assert "columns/first" in tally.error
    assert "autorecap verify" in tally.error
    assert units.done_units(store, "third", root=False) == set()


def test_a_leg_may_be_mended_until_it_has_committed(tmp_path):
    from pipeline.runfolder import OtherRun, start_leg

    store, _ = run_of_three_legs(tmp_path)

    def recipe(**options):
        fetch = {"stages": [{"use": "fetch"}]}
        first = {"after": "fetch", "stages": [{"use": "keywords", **options}]}
        return Recipe.model_validate({"name": "trial", "run": str(tmp_path), "legs": {"fetch": fetch, "first": first}})

    before = start_leg(store, recipe(), "first")
    with pytest.raises(OtherRun, match=r"legs\.first"):
        start_leg(store, recipe(music=False), "first")
    store.delete(units.columns_path("first", UNIT))
    assert start_leg(store, recipe(music=False), "first") != before
    assert start_leg(store, recipe(), "first") == before


def test_the_recipe_says_whose_audio_is_kept_beside_the_ok_clips(tmp_path):
    def committed(name, keep_audio):
        store = Store(str(tmp_path / name))
        write_plan(store, 1, 6)
        stages = [{"use": "tests.pipeline.trial_stages:Trial"}]  # ends every third clip as filtered/third
        legs = {"fetch": {"stages": stages, "keep_audio": keep_audio}}
        job = leg_job(store, Recipe.model_validate({"name": "t", "run": store.root, "legs": legs}), "fetch")
        commit(job, UnitRunner(job.links(0), job.services(0)).run(read_unit(job, UNIT)))
        return units.read_root_unit(store, UNIT).column("tar").is_valid().to_pylist()

    assert committed("none", None) == committed("other", ["silent"]) == [True, True, False] * 2
    assert committed("third", ["third"]) == committed("all", "all") == [True] * 6


def test_audio_is_kept_by_the_leg_that_cuts_only():
    legs = {"fetch": {"stages": [{"use": "fetch"}]}}
    legs["models"] = {"after": "fetch", "stages": [{"use": "keywords"}], "keep_audio": "all"}
    with pytest.raises(ValueError, match="keep_audio belongs to the leg that cuts"):
        Recipe.model_validate({"name": "t", "run": "r", "legs": legs})
    with pytest.raises(ValueError, match="keep_audio"):
        Recipe.model_validate({"name": "t", "run": "r", "legs": {"fetch": {**legs["fetch"], "keep_audio": "silent"}}})
    recipe = Recipe.model_validate({"name": "t", "run": "r", "legs": {"fetch": legs["fetch"]}})
    assert "keep_audio" not in recipe.model_dump()["legs"]["fetch"]  # runs made before know a leg without it
