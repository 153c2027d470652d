import json

from corpus import units
from pipeline.status import run_status


def test_a_run_in_numbers(small_corpus, tmp_path):
    store = small_corpus().make(tmp_path / "run")
    status = run_status(store)
    said = status.as_json()
    json.dumps(said)
    assert said["planned"] == said["ok"] + said["filtered"] + said["merged"] + said["failed"] == 36
    assert said["pending"] == 0
    assert said["legs"]["fetch"]["units_done"] == said["units"]
    lines = "\n".join([*status.source_lines(), *status.clip_lines(), *status.funnel_lines()])
    assert "6 planned + 0 ended + 0 failed" in lines
    assert "leg models: 36 clips" in lines
    assert "ok after models" in lines


def test_what_a_leg_has_not_committed_is_pending(small_corpus, tmp_path):
    store = small_corpus().make(tmp_path / "run")
    unit = sorted(units.done_units(store, "models", root=False))[0]
    store.delete(units.columns_path("models", unit))
    status = run_status(store)
    assert status.as_json()["pending"] == 12
    assert any("1 of 3 units to do" in line for line in status.clip_lines())


def test_a_plan_that_has_not_run_is_all_pending(small_corpus, tmp_path):
    store = small_corpus().make(tmp_path / "run")
    for path in store.list("corpus"):
        store.delete(path)
    said = run_status(store).as_json()
    assert (said["pending"], said["ok"], said["legs"]) == (36, 0, {})
