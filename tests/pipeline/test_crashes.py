"""Clips that kill their worker, on a real local Ray: segmentation faults, hangs, workers that grow."""

import hashlib
import json
import time
from contextlib import suppress
from pathlib import Path

import pytest
import ray

from benchmarks.synthetic import write_plan
from corpus import units
from corpus.store import Store
from corpus.verify import verify_corpus
from pipeline.config import Recipe
from pipeline.isolate import Crash, Streak
from pipeline.legjob import commit, read_unit
from pipeline.run import LegStopped, UnitDone, leg_job, run_leg
from pipeline.settle import Settling
from pipeline.stuck import in_hand
from pipeline.worker import UnitRunner

HERE = "tests.pipeline.trial_stages"
POISON = "00000-00001"


@pytest.fixture(scope="module", autouse=True)
def ray_is_up():
    from pipeline.engine import ensure_ray, stop_ray

    ensure_ray(num_cpus=2)
    yield
    stop_ray()


def recipe(run, poison, leg="fetch", **execution):
    fetch, models = [{"use": f"{HERE}:Trial"}], [{"use": f"{HERE}:Caption", "model": True}]
    (fetch if leg == "fetch" else models).insert(1 if leg == "fetch" else 0, poison)
    legs = {"fetch": {"stages": fetch}, "models": {"after": "fetch", "stages": models}}
    execution = {"task_retries": 1, **execution}
    return Recipe.model_validate({"name": "trial", "run": str(run), "legs": legs, "execution": execution})


def kills(*rows, unit=POISON, **options):
    return {"use": f"{HERE}:Kills", "unit": unit, "rows": list(rows), **options}


def planned(run, units=3, clips=6):
    store = Store(str(run))
    write_plan(store, units, clips)
    return store


def work(store, asked, leg="fetch"):
    return list(run_leg(store, asked, leg))


def digests(store):
    return {path: hashlib.sha256(store.read(path)).hexdigest() for path in store.list("corpus/units")}


def marked_directly(store, asked, crashed):
    """The corpus as it is when somebody says from the start which clips kill."""
    Path(store.root, "mended").touch()
    job = leg_job(store, asked, "fetch")
    for unit_id in ("00000-00000", POISON, "00000-00002"):
        unit = UnitRunner(job.links(0), job.services(0)).run(read_unit(job, unit_id), crashed)
        commit(job, unit)
    return digests(store)


def test_clips_that_kill_end_as_crashed_and_all_others_as_without_them(tmp_path):
    store, asked = planned(tmp_path / "one"), recipe(tmp_path / "one", kills(1, 4))
    end = work(store, asked)[-1]
    assert (end.committed, end.undone, end.errors) == (3, 0, [])
    rows = units.read_root_unit(store, POISON).to_pylist()
    detail = "the worker was ended by SIGSEGV while it worked on this clip alone"
    assert [row["outcome"] for row in rows] == ["ok", "failed", "filtered", "ok", "failed", "filtered"]
    assert {(row["reason"], row["stage"], row["detail"]) for row in rows if row["outcome"] == "failed"} == {
        ("crashed", f"{HERE}:Kills", detail)
    }
    assert verify_corpus(store, ["fetch"]).ok
    crashed = {row["clip_id"]: Crash(f"{HERE}:Kills", detail) for row in (rows[1], rows[4])}
    assert digests(store) == marked_directly(planned(tmp_path / "two"), asked, crashed)


def test_a_unit_is_tried_three_times_in_all_and_those_beside_it_are_committed(tmp_path):
    store = planned(tmp_path)
    fatal = kills(0, how="exit", model=True)
    work(store, recipe(tmp_path, fatal, "models"))
    done = work(store, recipe(tmp_path, fatal, "models", task_retries=2), "models")
    assert (done[-1].committed, done[-1].undone) == (3, 0)
    captions = units.read_columns_unit(store, "models", POISON).to_pylist()
    assert [row["reason"] for row in captions] == ["crashed", None, "third", None, None, "third"]
    assert "exit code 11" in captions[0]["detail"]
    seen = (tmp_path / "seen").read_text().split()
    assert len(set(seen)) == 1
    assert len(seen) == 3 + 3  # the unit; then, of 4 live clips, 2 and 1, which is judged again
    assert sum(event.outcomes.get("failed/crashed", 0) for event in done if isinstance(event, UnitDone)) == 1
    assert verify_corpus(store, ["fetch", "models"]).ok


def test_a_hang_in_native_code_ends_the_worker_and_its_children(tmp_path):
    store = planned(tmp_path)
    work(store, recipe(tmp_path, kills(3, how="hang", limit_s=0.5), task_retries=0))
    row = units.read_root_unit(store, POISON).to_pylist()[3]
    assert (row["outcome"], row["reason"]) == ("failed", "crashed")
    assert row["detail"] == "the worker was ended: decode took longer than 0.5 s while it worked on this clip alone"
    children = [Path("/proc", path.name.removeprefix("child-")) for path in tmp_path.glob("child-*")]
    assert len(children) == 4  # in the wave, in the trial, and twice alone: the stage has named the clip
    give_up = time.monotonic() + 10
    while any("sleep" in (child / "stat").read_text() for child in children if child.exists()):
        assert time.monotonic() < give_up
        time.sleep(0.05)


class LosesItsTrial(Settling):
    """The trial's node goes when the unit has been read."""

    def _read(self, unit_id):
        unit = super()._read(unit_id)
        if not self.lost:
            self.lost = True
            ray.kill(self.trial(0))
            with suppress(ray.exceptions.RayActorError):
                while True:  # it takes effect a little later
                    ray.get(self.trial(0).close.remote())
        return unit


def test_a_node_that_goes_while_a_unit_is_worked_by_itself_costs_that_unit_a_start(tmp_path):
    store, asked = planned(tmp_path, units=1), recipe(tmp_path, kills())
    with LosesItsTrial(leg_job(store, asked, "fetch"), asked, Streak(5)) as settling:
        settling.lost = False
        error = json.loads(settling.settle("00000-00000")["tally"])["error"]
        assert "unit 00000-00000: it was lost again while it was worked by itself" in error
        assert settling.settle("00000-00000")["committed"]


def test_stages_that_cannot_be_opened_stop_the_leg(tmp_path):
    store = planned(tmp_path, units=1)
    with pytest.raises(LegStopped, match=r"SIGSEGV before it was given any clip, while it opened its stages"):
        work(store, recipe(tmp_path, kills(how="open")))
    assert units.done_units(store, "fetch", root=True) == set()


def test_a_stage_that_dies_of_every_clip_stops_the_leg_and_marks_none(tmp_path):
    store = planned(tmp_path, units=9, clips=2)
    with pytest.raises(LegStopped, match=r"of 2 sources.*execution\.crashes_in_a_row"):
        work(store, recipe(tmp_path, kills(unit=""), crashes_in_a_row=2))
    assert len(units.done_units(store, "fetch", root=True)) <= 1


@pytest.mark.parametrize("kind", ["task", "actor"])
def test_workers_that_grow_are_replaced_and_no_unit_is_lost(tmp_path, kind, caplog):
    store = planned(tmp_path, units=4, clips=2)
    grows = {"use": f"{HERE}:Grows", "mb": 400, "model": kind == "actor"}
    end = work(store, recipe(tmp_path, grows, worker_max_memory_mb=400))[-1]
    assert (end.committed, end.undone) == (4, 0)
    assert "lost" not in caplog.text
    workers = {path.name.rsplit("-", 1)[1] for path in tmp_path.glob(f"{kind}-*")}
    assert len(workers) == 4


def test_what_workers_are_at_is_asked_on_every_node(tmp_path):
    assert in_hand(str(tmp_path), ["00000-00007"]) == ["1 units are with no worker now, 00000-00007 is the first"]
