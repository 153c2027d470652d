"""Legs on a real local Ray: commits, resume, bugs, crashes, signals."""

import hashlib
import json
import os
import signal
import site
import subprocess
import sys
import time
import venv
from pathlib import Path

import pytest
import yaml

from benchmarks.synthetic import write_plan
from corpus import attempts, plan_store, units
from corpus.schema import PLAN, SOURCES
from corpus.store import Store
from corpus.verify import verify_corpus
from pipeline.config import Recipe
from pipeline.retry import retry
from pipeline.run import LegEnd, LegStart, LegStopped, UnitDone, run_leg
from pipeline.runfolder import OtherRun, start_run
from pipeline.todo import Partition

ROOT = Path(__file__).resolve().parents[2]
HERE = "tests.pipeline.trial_stages"


@pytest.fixture(scope="module", autouse=True)
def ray_is_up():
    from pipeline.engine import ensure_ray, stop_ray

    ensure_ray(num_cpus=2)
    yield
    stop_ray()


def recipe(run, fetch=None, **execution):
    return Recipe.model_validate(
        {
            "name": "trial",
            "run": str(run),
            "legs": {
                "fetch": {"stages": [{"use": f"{HERE}:Trial"}, *(fetch or [])]},
                "models": {"after": "fetch", "stages": [{"use": f"{HERE}:Caption", "model": True}]},
            },
            "execution": execution,
        }
    )


def planned(run, units=5, clips=4):
    store = Store(str(run))
    write_plan(store, units, clips)
    return store


def events(store, recipe, leg):
    return list(run_leg(store, recipe, leg))


def digests(store):
    return {path: hashlib.sha256(store.read(path)).hexdigest() for path in store.list("corpus")}


def test_both_legs_commit_every_unit_and_a_second_start_does_nothing(tmp_path):
    store = planned(tmp_path)
    one = recipe(tmp_path)
    fetch = events(store, one, "fetch")
    assert isinstance(fetch[0], LegStart)
    assert (fetch[0].clips, fetch[0].units) == (20, 5)
    assert sorted(event.unit_id for event in fetch if isinstance(event, UnitDone)) == sorted(
        units.done_units(store, "fetch", root=True)
    )
    assert all(event.outcomes == {"filtered/third": 1, "ok": 3} for event in fetch if isinstance(event, UnitDone))
    models = events(store, one, "models")
    assert (models[-1].committed, models[-1].undone) == (5, 0)
    assert verify_corpus(store, ["fetch", "models"]).ok
    captions = units.read_columns_unit(store, "models", "00000-00003")
    assert captions.column("outcome").to_pylist() == ["ok", "ok", "filtered", "ok"]
    assert captions.column("caption").to_pylist()[2] is None
    assert captions.column("stage").to_pylist()[2] == f"{HERE}:Trial"
    before = digests(store)
    again = events(store, one, "fetch")
    assert [type(event) for event in again] == [LegStart, LegEnd]
    assert (again[0].units_done, again[1].committed) == (5, 0)
    assert digests(store) == before


def test_waves_and_worker_counts_change_no_byte(tmp_path):
    one, other = planned(tmp_path / "one"), planned(tmp_path / "other")
    for leg in ("fetch", "models"):
        events(one, recipe(one.root), leg)
        events(other, recipe(other.root, wave_units=2, cpus_per_task=0.5), leg)
    assert digests(one) == digests(other)


def test_a_pool_can_have_an_interpreter_of_its_own(tmp_path):
    """As laion-clap needs it: another environment that sees this one's packages behind its own."""
    venv.create(tmp_path / "other", with_pip=False, symlinks=True)
    packages = next((tmp_path / "other" / "lib").glob("python*/site-packages"))
    (packages / "this.pth").write_text(f"import site; site.addsitedir({site.getsitepackages()[0]!r})\n")
    store, python = planned(tmp_path / "run", units=2), str(tmp_path / "other" / "bin" / "python")
    legs = {
        "fetch": {"stages": [{"use": f"{HERE}:Trial"}]},
        "models": {"after": "fetch", "stages": [{"use": f"{HERE}:Interpreter", "model": True, "pool": "apart"}]},
    }
    asked = Recipe.model_validate(
        {"name": "trial", "run": store.root, "legs": legs, "execution": {"pools": {"apart": {"python": python}}}}
    )  # fmt: skip
    for leg in legs:
        events(store, asked, leg)
    said = units.read_columns_unit(store, "models", min(units.done_units(store, "models", root=False)))
    assert set(said.column("caption").to_pylist()) - {None} == {python}


def test_models_takes_what_fetch_has_committed_so_far(tmp_path):
    store = planned(tmp_path)
    one = recipe(tmp_path)
    events(store, one, "fetch")
    later = units.root_path("00000-00004")
    data = store.read(later)
    store.delete(later)
    assert events(store, one, "models")[-1].undone == 1
    store.put_if_absent(later, data)
    end = events(store, one, "models")[-1]
    assert (end.committed, end.undone) == (1, 0)


def test_a_bug_in_one_unit_leaves_that_unit_undone_and_says_where(tmp_path):
    store = planned(tmp_path)
    end = events(store, recipe(tmp_path, [{"use": f"{HERE}:RaisesAt", "unit": "00000-00002"}]), "fetch")[-1]
    assert (end.committed, end.undone) == (4, 1)
    assert "00000-00002" in end.errors[0]
    assert "ZeroDivisionError: a bug" in end.errors[0]
    assert "00000-00002" not in units.done_units(store, "fetch", root=True)


def test_a_bug_everywhere_stops_the_leg(tmp_path):
    store = planned(tmp_path, units=40)
    broken = recipe(tmp_path, [{"use": f"{HERE}:RaisesAt", "unit": f"00000-{at:05d}"} for at in range(40)])
    with pytest.raises(LegStopped, match="one after the other"):
        events(store, broken, "fetch")
    assert units.done_units(store, "fetch", root=True) == set()


def test_another_recipe_or_plan_is_refused_and_what_differs_is_said(tmp_path):
    one = recipe(tmp_path)
    start_run(one)
    store = planned(tmp_path)
    events(store, one, "fetch")
    changed = one.model_copy(update={"plan": one.plan.model_copy(update={"gap_min_s": 2.0})})
    with pytest.raises(OtherRun, match=r"plan\.gap_min_s: there 1\.0, asked 2\.0"):
        start_run(changed)
    longer = recipe(tmp_path, [{"use": f"{HERE}:Trial", "sleep_s": 0.5}])
    with pytest.raises(OtherRun, match=r"legs\.fetch\.stages"):
        events(store, longer, "fetch")
    start_run(one.model_copy(update={"plan": one.plan.model_copy(update={"workers": 3})}))


def test_a_plan_that_was_swapped_under_a_corpus_is_refused(tmp_path):
    store = planned(tmp_path)
    one = recipe(tmp_path)
    events(store, one, "fetch")
    for path in store.list("plan"):
        store.delete(path)
    write_plan(store, 5, 3)
    with pytest.raises(OtherRun, match="part 00000"):
        events(store, one, "models")


def test_a_run_without_a_plan_says_what_to_do(tmp_path):
    with pytest.raises(OtherRun, match="autorecap plan"):
        events(Store(str(tmp_path)), recipe(tmp_path), "fetch")


def test_a_share_may_be_empty_a_plan_may_not(tmp_path):
    store = planned(tmp_path, units=1)
    shares = [Partition(number, 2) for number in (1, 2)]
    (empty,) = [share for share in shares if not share.has("00000-00000")]
    start, end = list(run_leg(store, recipe(tmp_path), "fetch", share=empty))
    assert (start.units, end.committed, end.undone) == (0, 0, 0)
    nothing = Store(str(tmp_path / "nothing"))
    plan_store.write_part(nothing, "00000", PLAN.empty_table(), SOURCES.empty_table())
    with pytest.raises(OtherRun, match="has no clips; see why with: autorecap status"):
        events(nothing, recipe(tmp_path / "nothing"), "fetch")


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drops_the_units_in_flight_and_says_how_to_go_on(tmp_path, signum):
    run = tmp_path / "run"
    slow = recipe(run, [{"use": f"{HERE}:Trial", "sleep_s": 0.4}])
    config = tmp_path / "trial.yaml"
    config.write_text(yaml.safe_dump(json.loads(slow.model_dump_json())))
    start_run(slow)
    store = planned(run, units=30)
    command = [sys.executable, "-m", "pipeline.cli", "run", str(config), "--leg", "fetch"]
    driver = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    give_up = time.monotonic() + 60
    while not units.done_units(store, "fetch", root=True):
        assert driver.poll() is None, driver.communicate()
        assert time.monotonic() < give_up
        time.sleep(0.05)
    os.kill(driver.pid, signum)
    _, errors = driver.communicate(timeout=60)
    assert driver.returncode == 128 + signum, errors
    assert f"stopped by {signal.Signals(signum).name}" in errors
    assert f"autorecap run {config}" in errors
    assert 0 < len(units.done_units(store, "fetch", root=True)) < 30
    assert verify_corpus(store, ["fetch"]).ok


def test_a_retry_is_worked_like_a_unit_and_taken_up_by_the_next_leg(tmp_path):
    store = planned(tmp_path, units=2)
    clip_id = plan_store.read_unit(store, "00000-00001").column("clip_id")[1].as_py()
    faults = tmp_path / "fetch.faults.json"
    faults.write_text(json.dumps({clip_id: "timeout"}))
    legs = {
        "fetch": {"stages": [{"use": f"{HERE}:Faulty"}]},
        "models": {"after": "fetch", "stages": [{"use": f"{HERE}:Caption", "model": True}]},
    }
    config = Recipe.model_validate({"name": "trial", "run": str(tmp_path), "legs": legs})
    start_run(config)
    for leg in ("fetch", "models"):
        events(store, config, leg)
    faults.write_text("{}")
    assert retry(str(tmp_path), reasons=["timeout"]).clips["fetch"] == {"timeout": 1}
    for leg in ("fetch", "models"):
        done = [event.unit_id for event in events(store, config, leg) if isinstance(event, UnitDone)]
        assert done == ["00000-00001.r1"]
        rows = attempts.read_latest(store, leg, "00000-00001", root=leg == "fetch")
        assert rows.column("attempt").to_pylist() == [0, 1, 0, 0]
    assert verify_corpus(store, ["fetch", "models"]).ok
