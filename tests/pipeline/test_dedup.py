"""The dedup leg over real run folders: made anew when the corpus has grown, never half, always the same bytes."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.dedup import PART_CLIPS, make, plant, recipe
from corpus import units
from corpus.store import Store
from corpus.verify import verify_corpus
from pipeline import dedup
from pipeline.engine import stop_ray
from pipeline.run import LegEnd, UnitDone, run_leg
from pipeline.runfolder import legs_of, start_leg, start_run
from pipeline.select import select

ROOT = Path(__file__).resolve().parents[2]
CLIPS = 700


@pytest.fixture
def corpus(tmp_path):
    config = recipe(str(tmp_path / "run"))
    store = start_run(config)
    start_leg(store, config, "fetch")
    return store, make(store, CLIPS)


def run(store, change=None):
    config = recipe(store.root)
    if change:
        job = config.legs["dedup"].job.model_copy(update=change)
        leg = config.legs["dedup"].model_copy(update={"job": job})
        config = config.model_copy(update={"legs": {**config.legs, "dedup": leg}})
    return list(run_leg(store, config, "dedup"))


def committed(events):
    return [event.unit_id for event in events if isinstance(event, UnitDone)]


def digests(store, below="corpus"):
    return {path: hashlib.sha256(store.read(path)).hexdigest() for path in store.list(below)}


def verdicts(store):
    rows = []
    for unit_id in sorted(units.done_units(store, "dedup", root=False)):
        rows += units.read_columns_unit(store, "dedup", unit_id).to_pylist()
    return {row["clip_id"]: row for row in rows}


def dedup_faults(store):
    """What verify finds in the leg (the made-up corpus itself has no audio)."""
    return [check for check in verify_corpus(store, list(legs_of(store))).faults if check.name.startswith("dedup")]


def name(clip):
    return f"s{clip:09d}_0_10000"


def test_copies_are_found_committed_and_left_out_of_views(corpus):
    store, planted = corpus
    events = run(store)
    assert len(committed(events)) == 6
    assert events[-1].undone == 0
    rows = verdicts(store)
    assert len(rows) == CLIPS
    dropped = {clip: row["dup_group"] for clip, row in rows.items() if not row["dup_keep"]}
    assert dropped == {name(copy): name(original) for copy, original in planted.tolist()}
    assert {row["outcome"] for row in rows.values()} == {"ok"}
    assert dedup_faults(store) == []
    view = select(store.root, "all")
    assert (view.clips, view.summary["duplicates_left_out"]) == (CLIPS - len(planted), len(planted))
    assert select(store.root, "with", keep_duplicates=True).clips == CLIPS


def test_a_second_start_does_nothing(corpus):
    store, _ = corpus
    run(store)
    before = digests(store)
    events = run(store)
    assert committed(events) == []
    assert digests(store) == before


def test_what_a_killed_start_left_undone_is_committed_to_the_same_bytes(corpus):
    store, _ = corpus
    run(store)
    before = digests(store)
    for lost in ("00000-00001", "00000-00004"):
        store.delete(units.columns_path("dedup", lost))
    for path in store.list("corpus/compacted/dedup"):
        store.delete(path)
    assert committed(run(store)) == ["00000-00001", "00000-00004"]
    assert digests(store) == before


def test_a_process_killed_in_the_middle_of_its_commits_is_gone_on_with(corpus, tmp_path):
    store, _ = corpus
    code = f"""
import os
from benchmarks.dedup import recipe
from corpus import units
from corpus.store import Store
from pipeline.run import run_leg
commit, calls = units.commit_columns, []
def dies(*arguments):
    calls.append(1)
    if len(calls) == 4:
        os.kill(os.getpid(), 9)
    return commit(*arguments)
units.commit_columns = dies
list(run_leg(Store({store.root!r}), recipe({store.root!r}), "dedup"))
"""
    killed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=120)
    assert killed.returncode == -9, killed.stderr
    assert len(units.done_units(store, "dedup", root=False)) == 3
    assert len(committed(run(store))) == 3
    whole = Store(str(tmp_path / "whole"))
    make(whole, CLIPS)
    run(whole)
    assert digests(store, "corpus/columns") == digests(whole, "corpus/columns")


def test_a_grown_corpus_is_looked_at_as_a_whole(corpus):
    store, planted = corpus
    run(store)
    before = verdicts(store)
    late = np.array([[PART_CLIPS + 3, 20]])  # a copy that comes with the next part
    plant(store, PART_CLIPS, 200, late)
    events = run(store)
    assert len(committed(events)) == 8
    rows = verdicts(store)
    assert rows[name(20)]["dup_group"] == rows[name(PART_CLIPS + 3)]["dup_group"] == name(20)
    assert not rows[name(PART_CLIPS + 3)]["dup_keep"]
    assert before[name(20)]["dup_group"] is None
    assert dedup_faults(store) == []
    assert select(store.root, "all").clips == CLIPS + 200 - len(planted) - 1


def test_other_rules_make_all_columns_anew(corpus):
    store, planted = corpus
    run(store)
    events = run(store, {"near": False})
    assert len(committed(events)) == 6
    assert all(row["dup_keep"] for row in verdicts(store).values())
    assert len(committed(run(store))) == 6
    assert sum(not row["dup_keep"] for row in verdicts(store).values()) == len(planted)


def test_a_leg_that_has_not_done_all_units_waits_for_the_rest(corpus):
    store, _ = corpus
    data = store.read(units.root_path("00000-00005"))
    store.delete(units.root_path("00000-00005"))
    events = run(store)
    assert len(committed(events)) == 5
    assert isinstance(events[-1], LegEnd)
    assert events[-1].undone == 1
    store.put_if_absent(units.root_path("00000-00005"), data)
    assert len(committed(run(store))) == 6


@pytest.mark.slow
def test_ray_gives_the_same_bytes(corpus, monkeypatch):
    store, _ = corpus
    run(store)
    before = digests(store)
    for below in ("corpus/columns", "corpus/generations", "corpus/compacted/dedup"):
        for path in store.list(below):
            store.delete(path)
    monkeypatch.setattr(dedup, "SMALL", 0)
    monkeypatch.setattr(dedup, "BLOCK_CLIPS", 200)
    try:
        run(store)
    finally:
        stop_ray()
    assert digests(store) == before


def test_the_generation_names_what_it_was_made_from(corpus):
    store, _ = corpus
    run(store)
    record = json.loads(store.read(dedup.generation_path("dedup")))
    assert list(record["made_from"]) == ["fetch"]
    assert record["made_from"]["fetch"] == [path.rsplit("/", 1)[1] for path in store.list("corpus/compacted/fetch")]
