"""A new attempt of what has failed, and of nothing else: planned, worked, read, verified."""

import json
import os
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from benchmarks.synthetic import write_plan
from corpus import attempts, compact, plan_store, units
from corpus.compacted import compacted_files
from corpus.schema import AUDIO, OUTCOME, SOURCES
from corpus.store import Store
from corpus.verify import verify_corpus
from corpus.verify_shards import verify_shards
from pipeline.advice import ADVICE
from pipeline.cli import main
from pipeline.clips import read_clips
from pipeline.config import Recipe
from pipeline.export import export
from pipeline.legjob import commit, read_unit
from pipeline.retry import RetryError, retry
from pipeline.run import leg_job, run_leg
from pipeline.runfolder import start_run
from pipeline.select import select
from pipeline.status import run_status
from pipeline.todo import Todo
from pipeline.verbs_retry import age_s, failures
from pipeline.worker import UnitRunner
from stages.base import with_columns
from stages.faults import RULES

ROOT = Path(__file__).resolve().parents[2]
HERE = "tests.pipeline.trial_stages"
UNITS, CLIPS = 3, 4


class Run:
    """A run whose clips fail as its fault files say, worked in this process."""

    def __init__(self, folder, *, alike=False, **faults):
        self.root = str(folder)
        models = [{"use": f"{HERE}:FaultyModel", "alike": alike}, {"use": "join"}, {"use": f"{HERE}:FaultyLater"}]
        legs = {
            "fetch": {"stages": [{"use": f"{HERE}:Faulty"}]},
            "models": {"after": "fetch", "stages": models},
        }
        self.recipe = Recipe.model_validate({"name": "trial", "run": self.root, "legs": legs})
        self.store = start_run(self.recipe)
        write_plan(self.store, units=UNITS, clips_per_unit=CLIPS)
        self.folder = folder
        self.faults(**{"fetch": {}, "models": {}, "later": {}, **faults})

    def faults(self, **faults):
        for leg, of in faults.items():
            text = json.dumps({self.clip(*place): reason for place, reason in of.items()})
            (self.folder / f"{leg}.faults.json").write_text(text)

    def clip(self, unit, row):
        return plan_store.read_unit(self.store, f"00000-{unit:05d}").column("clip_id")[row].as_py()

    def work(self, *legs):
        done = []
        for leg in legs or ("fetch", "models"):
            job = leg_job(self.store, self.recipe, leg)
            for info in list(Todo(self.store, self.recipe, leg).units()):
                unit = read_unit(job, info.unit_id)
                for group in range(len(job.groups)):
                    unit = UnitRunner(job.links(group), job.services(group)).run(unit)
                unit = commit(job, unit)
                assert unit.column("committed").to_pylist() == [True], unit.column("tally")
                done.append(f"{leg} {info.unit_id}")
            compact.compact(self.store, leg, root=job.is_root)
        return done

    def seen(self, leg, unit, column="reason"):
        rows = attempts.read_latest(self.store, leg, f"00000-{unit:05d}", root=leg == "fetch").to_pylist()
        return [row[column] for row in rows]

    def counts(self, leg):
        (found,) = [of for of in run_status(self.store).counts.legs if of.leg == leg]
        assert sum(found.outcomes.values()) == found.clips_done == UNITS * CLIPS
        return dict(found.outcomes), found.retries

    def verified(self):
        report = verify_corpus(self.store, ["fetch", "models"])
        assert report.ok, report.faults


@pytest.fixture
def run(tmp_path):
    run = Run(
        tmp_path,
        fetch={(0, 0): "http_429", (0, 3): "timeout", (2, 1): "http_429", (2, 2): "gone"},
        models={(1, 1): "crashed"},
    )
    run.work()
    return run


def digests(store):
    return {path: store.read(path) for path in store.list() if path.startswith(("plan", "corpus"))}


def test_just_the_clips_that_failed_for_a_reason_are_tried_again_and_later_legs_take_them_up(run):
    assert run.counts("models") == (
        {"failed/crashed": 1, "failed/gone": 1, "failed/http_429": 2, "failed/timeout": 1, "ok": 7},
        0,
    )
    told = retry(run.root, reasons=["http_429"])
    assert (told.clips["fetch"], told.units["fetch"], told.sources) == ({"http_429": 2}, 2, {})
    assert attempts.read_planned(run.store, "00000-00002.r1", ["fetch"]).column("clip_id").to_pylist() == [
        run.clip(2, 1)
    ]
    assert run.counts("fetch")[1] == run.counts("models")[1] == 2
    run.faults(fetch={})
    assert run.work() == [f"{leg} 00000-0000{unit}.r1" for leg in ("fetch", "models") for unit in (0, 2)]
    assert run.seen("fetch", 0, "attempt") == [1, 0, 0, 0]
    assert [text and text[-1] for text in run.seen("models", 0, "caption")] == ["1", "0", "0", None]
    assert run.counts("models") == ({"failed/crashed": 1, "failed/gone": 1, "failed/timeout": 1, "ok": 9}, 0)
    assert run.work() == []
    run.verified()


def test_a_clip_that_failed_in_models_is_not_fetched_again(run):
    run.faults(models={})
    told = retry(run.root, reasons=["crashed"])
    assert (told.clips["fetch"], told.clips["models"]) == ({}, {"crashed": 1})
    before = run.store.list("corpus/units")
    assert run.work() == ["models 00000-00001.r1"]
    assert run.store.list("corpus/units") == before
    assert run.seen("models", 1, "attempt") == [0, 1, 0, 0]
    assert run.counts("models")[0]["ok"] == 8
    run.verified()


def test_called_twice_it_plans_nothing_new_and_what_fails_again_gets_the_next_attempt(run):
    retry(run.root, reasons=["all"])
    before = digests(run.store)
    assert retry(run.root, reasons=["all"]).nothing
    assert digests(run.store) == before
    run.work()
    assert run.seen("fetch", 2) == [None, "http_429", "gone", None]
    told = retry(run.root, reasons=["all"])
    assert told.clips == {"fetch": {"http_429": 2, "gone": 1, "timeout": 1}, "models": {"crashed": 1}}
    run.faults(fetch={}, models={})
    run.work()
    assert run.counts("models") == ({"ok": UNITS * CLIPS}, 0)
    assert run.seen("fetch", 0, "attempt") == [2, 0, 0, 2]
    run.verified()


def test_a_clip_may_fail_in_one_leg_and_then_in_the_next(run):
    run.faults(fetch={}, models={(0, 0): "crashed"})
    retry(run.root, reasons=["http_429"])
    run.work("fetch")
    assert retry(run.root, reasons=["all"], legs=["models"]).clips["models"] == {"crashed": 1}  # 0/0 is yet to be done
    run.work("models")
    assert run.seen("models", 0)[0] == "crashed"
    run.faults(models={})
    assert retry(run.root, legs=["models"], reasons=["crashed"]).units == {"models": 1}
    assert run.work() == ["models 00000-00000.r2"]
    assert (run.seen("fetch", 0, "attempt")[0], run.seen("models", 0, "attempt")[0]) == (1, 2)
    run.verified()


def test_a_retry_in_the_middle_leaves_the_same_corpus_whichever_leg_goes_first(tmp_path):
    faults = {"fetch": {(0, 0): "timeout", (1, 2): "timeout"}, "models": {(0, 1): "crashed"}}
    made = []
    for name, orders in (("a", ["fetch", "models"]), ("b", ["models", "fetch", "models"])):
        folder = tmp_path / name
        folder.mkdir()
        run = Run(folder, **faults)
        run.work()
        retry(run.root, reasons=["all"])
        run.faults(fetch={}, models={})
        for leg in orders:
            run.work(leg)
        run.verified()
        made.append(digests(run.store))
    assert made[0] == made[1]


def test_killed_between_two_files_nothing_is_lost_or_doubled(run, monkeypatch):
    put = attempts.plan_retry
    placed = []

    def killed_after_one(*args):
        if placed:
            raise KeyboardInterrupt
        placed.append(put(*args))
        return True

    monkeypatch.setattr(attempts, "plan_retry", killed_after_one)
    with pytest.raises(KeyboardInterrupt):
        retry(run.root, reasons=["all"])
    monkeypatch.undo()
    retry(run.root, reasons=["all"])
    planned = attempts.planned_retries(run.store, ["fetch", "models"])
    clips = [
        clip for work, leg in planned.items() for clip in attempts.read_planned(run.store, work, [leg]).to_pylist()
    ]
    ids = [clip["clip_id"] for clip in clips]
    assert sorted(ids) == sorted(run.clip(*place) for place in [(0, 0), (0, 3), (1, 1), (2, 1), (2, 2)])


def test_neighbours_that_a_retry_brings_back_are_not_joined(tmp_path):
    run = Run(tmp_path, alike=True, fetch={(0, 1): "timeout", (0, 2): "timeout"})
    run.work()
    assert run.seen("models", 1) == [None, "joined", "joined", "joined"]  # the trial's clips abut and sound alike
    run.faults(fetch={})
    retry(run.root)
    run.work()
    assert run.seen("models", 0) == [None, None, None, None]
    run.verified()


def test_a_join_whose_first_clip_failed_comes_back_as_clips_of_their_own(tmp_path):
    run = Run(tmp_path, alike=True, later={(0, 0): "crashed"})
    run.work()
    assert run.seen("models", 0) == ["crashed", "joined", "joined", "joined"]
    run.faults(later={})
    assert retry(run.root, reasons=["crashed"]).clips["models"] == {"crashed": 1}
    run.work()
    assert run.seen("models", 0) == [None] * CLIPS
    assert run.seen("models", 0, "merged_into") == [None] * CLIPS
    assert run.seen("models", 1) == [None, "joined", "joined", "joined"]
    run.verified()


def test_only_what_failed_long_ago(run):
    path = run.folder / units.root_path("00000-00002")
    os.utime(path, (1_000_000_000, 1_000_000_000))
    told = retry(run.root, reasons=["all"], older_than_s=86_400, dry_run=True)
    assert told.clips == {"fetch": {"gone": 1, "http_429": 1}, "models": {}}
    assert run.store.list("plan/retries") == []
    assert [age_s(text) for text in ("90m", "12h", "1.5d")] == [5400, 43_200, 129_600]
    with pytest.raises(RetryError, match=r"e\.g\. 12h or 1d"):
        age_s("yesterday")


def test_what_is_asked_for_must_exist(run):
    with pytest.raises(RetryError, match=r"'http_249' is no reason; .* http_429 \(2\)"):
        retry(run.root, reasons=["http_249"])
    with pytest.raises(RetryError, match="has fetch, models"):
        retry(run.root, legs=["feth"])
    assert retry(run.root, reasons=["drm"]).nothing  # a word that is known, and nothing failed for it
    assert retry(run.root, reasons=["all"], stage="nobody").nothing


def test_status_tells_failures_with_examples_what_to_do_and_the_command(run):
    told = failures(run.store)
    assert {reason: group["count"] for reason, group in told["legs"]["fetch"].items()} == {
        "http_429": 2,
        "gone": 1,
        "timeout": 1,
    }
    assert told["legs"]["models"]["crashed"]["advice"] == ADVICE["crashed"]
    text = CliRunner().invoke(main, ["status", run.root, "--failures"]).output
    assert "\x1b" not in text
    assert text.splitlines()[-1] == f"next: autorecap retry {run.root} --reason http_429,timeout"
    as_json = json.loads(CliRunner().invoke(main, ["status", run.root, "--failures", "--json"]).output)
    assert as_json["legs"]["fetch"]["gone"]["transient"] is False
    result = CliRunner().invoke(main, ["retry", run.root, "--reason", "http_429,timeout", "--dry-run"])
    assert "leg fetch: 3 clips of 2 units would be tried again (http_429 2, timeout 1)" in result.output


def test_every_reason_has_a_sentence_of_what_to_do():
    said = r'(?:Ending\(\s*"failed",|DecodeError\()\s*"(\w+)"'
    files = [path for folder in ("stages", "audio") for path in (ROOT / folder).rglob("*.py")]
    by_stages = {word for path in files for word in re.findall(said, path.read_text())}
    assert by_stages >= {"bad_span", "audio_missing", "undecodable"}
    assert {*RULES, *by_stages, "crashed"} <= set(ADVICE)
    assert all(sentence[0].isupper() and sentence.endswith(".") and len(sentence) < 120 for sentence in ADVICE.values())


# -- what reads a corpus


def recover(made, store, unit):
    """Retry what has failed in a unit of a small corpus: this time there is audio. The clip's id."""
    retry(store.root, reasons=["undecodable"])
    work = f"00000-{unit:05d}.r1"
    planned = attempts.read_planned(store, work, ["fetch"])
    (row,) = planned.to_pylist()
    sound = {**made._fetched({**row, "start_ms": row["start_ms"] - made.clip_ms}), "attempt": 1}
    rows = beside(planned, [*OUTCOME, *AUDIO, pa.field("audio", pa.large_binary())], sound)
    units.commit_root(store, planned, rows, meta(store, "fetch"), attempt=1)
    return row["clip_id"]


def caption(made, store, unit, clip_id):
    """What the leg models makes of a recovered clip."""
    before = attempts.read_latest(store, "models", f"00000-{unit:05d}", root=False)
    root = attempts.read_latest(store, "fetch", f"00000-{unit:05d}", root=True)
    planned = root.filter(pc.equal(root.column("clip_id"), clip_id))
    keys = {*OUTCOME.names, "clip_id", "unit_id", "row"}
    adds = pa.schema([typed for typed in before.schema if typed.name not in keys])
    said = {"attempt": 1, "outcome": "ok", "caption": "a recovered sound", "clap_score": 0.7, "clap_model": made.scorer}
    rows = beside(planned, [*OUTCOME, *adds], said)
    units.commit_columns(store, "models", planned, rows, adds, meta(store, "models"), attempt=1)


def meta(store, leg):
    return units.UnitMeta(leg, "recipe", plan_store.part_sha256(store, "00000"))


def beside(rows, columns, values):
    """One row with these columns set."""
    for typed in columns:
        value = pa.array([values.get(typed.name)], typed.type)
        at = rows.schema.get_field_index(typed.name)
        rows = rows.set_column(at, typed, value) if at >= 0 else rows.append_column(typed, value)
    return rows


def test_views_exports_lists_and_verify_hold_a_recovered_clip_once(small_corpus, tmp_path):
    made = small_corpus(clip_ms=200)
    store = made.make(tmp_path / "run")
    before = select(store.root, "before")
    clip_id = recover(made, store, 1)
    caption(made, store, 1, clip_id)
    select(store.root, "after")  # its compaction takes the new attempt up
    result = export(store.root, "after", str(tmp_path / "out"), workers=0)
    assert result.clips == before.clips + 1
    index = pq.read_table(tmp_path / "out" / "index.parquet")
    assert index.column("key").to_pylist().count(clip_id) == 1
    assert verify_shards(str(tmp_path / "out"), decode=True).ok
    (clip,) = read_clips(store, ["fetch", "models"], [("00000-00001", clip_id)])
    assert (clip.outcome, clip.caption, len(clip.audio)) == ("ok", "a recovered sound", 1)
    assert [file.files for file in compacted_files(store, "models")] == [4]
    report = verify_corpus(store, ["fetch", "models"], decode=True)
    assert report.ok, report.faults
    assert any("2 retries, 1 of them committed" in check.detail for check in report.checks)


def test_a_dedup_leg_is_made_anew_with_the_recovered_clip(small_corpus, tmp_path):
    made = small_corpus(clip_ms=200, models=False)
    store = made.make(tmp_path / "run")
    legs = {"fetch": {"stages": [{"use": f"{HERE}:Faulty"}]}, "dedup": {"after": "fetch", "job": {"use": "dedup"}}}
    legs["dedup"]["job"]["near"] = False
    recipe = Recipe.model_validate({"name": "small", "run": store.root, "legs": legs})
    list(run_leg(store, recipe, "dedup"))
    clip_id = recover(made, store, 1)
    list(run_leg(store, recipe, "dedup"))
    rows = {row["clip_id"]: row for row in units.read_columns_unit(store, "dedup", "00000-00001").to_pylist()}
    assert (rows[clip_id]["outcome"], rows[clip_id]["dup_keep"], rows[clip_id]["attempt"]) == ("ok", True, 1)
    report = verify_corpus(store, ["fetch", "dedup"])
    assert report.ok, report.faults


def test_verify_finds_what_is_wrong_with_retries(run):
    run.faults(fetch={})
    retry(run.root, reasons=["http_429"])
    run.work()

    def faults():
        return "\n".join(check.detail for check in verify_corpus(run.store, ["fetch", "models"]).faults)

    def moved(path, data=None):
        kept = run.store.read(path)
        run.store.delete(path)
        if data is not None:
            run.store.put_if_absent(path, data)
        found = faults()
        run.store.replace(path, kept)
        assert faults() == ""
        return found

    planned = attempts.retry_path("fetch", "00000-00002.r1")
    assert "corpus/units/00000/00000-00002.r1.parquet is not in the plan" in moved(planned)
    assert f"{planned} cannot be read" in moved(planned, b"PAR1 damaged")
    root, columns = "corpus/units/00000/00000-00000.r1.parquet", "corpus/columns/models/00000/00000-00000.r1.parquet"
    assert "00000-00000.r1.parquet stands alone" in moved(root)
    assert f"{columns} cannot be read" in moved(columns, run.store.read(columns)[:-9])
    tar = next(path for path in run.store.list("corpus/audio") if ".r1-" in path)
    assert f"{tar} does not match its hash" in moved(tar, b"other")
    healthy = plan_store.read_unit(run.store, "00000-00001").slice(0, 1)
    attempts.plan_retry(run.store, "fetch", "00000-00001.r7", healthy)
    units.commit_root(
        run.store,
        healthy,
        with_columns(healthy, {"outcome": ["failed"], "reason": ["gone"], "attempt": [7]}, OUTCOME),
        units.UnitMeta("fetch", "r", plan_store.part_sha256(run.store, "00000")),
        attempt=7,
    )
    assert "tries clip" in faults()


# -- sources


def source(key, outcome, reason, attempt=0, clips=0):
    row = dict.fromkeys(SOURCES.names)
    row |= {"source_key": key, "source_id": key, "url": f"https://example.org/{key}", "clips": clips}
    return row | {"outcome": outcome, "reason": reason, "attempt": attempt}


def listed(run, part, *rows):
    entries = pa.table({"source_key": [row["source_key"] for row in rows], "location": ["somewhere"] * len(rows)})
    plan_store.write_inputs(run.store, part, entries)
    planned(run, part, *rows)


def planned(run, part, *rows):
    no_clips = plan_store.read_unit(run.store, "00000-00000").slice(0, 0)
    plan_store.write_part(run.store, part, no_clips, pa.Table.from_pylist(list(rows), schema=SOURCES))


def test_sources_that_failed_are_listed_again_once_and_the_last_attempt_counts(run):
    listed(
        run, "00001", source("a", "failed", "http_429"), source("b", "ended", "no_gaps"), source("c", "failed", "gone")
    )
    assert retry(run.root, reasons=["http_429"], clips=False, dry_run=True).sources == {"http_429": 1}
    told = retry(run.root, reasons=["http_429"], clips=False)
    assert (told.sources, told.parts) == ({"http_429": 1}, ["00002"])
    again = plan_store.read_inputs(run.store, "00002").to_pylist()
    assert [(row["source_key"], row["location"], row["attempt"]) for row in again] == [("a", "somewhere", 1)]
    assert retry(run.root, reasons=["all"], clips=False).sources == {"gone": 1}  # a waits in a part
    assert retry(run.root, reasons=["all"], clips=False).nothing
    planned(run, "00002", source("a", "failed", "timeout"))
    planned(run, "00003", source("c", "ended", "no_gaps"))
    counts = run_status(run.store).counts
    assert {name: count for name, count in counts.sources.items() if name != "planned"} == {
        "ended/no_gaps": 2,
        "failed/timeout": 1,
    }
    assert retry(run.root, reasons=["timeout"], clips=False).parts == ["00004"]
    assert plan_store.read_inputs(run.store, "00004").column("attempt").to_pylist() == [2]
    run.verified()


def test_who_loses_a_parts_name_looks_again(run, monkeypatch):
    listed(run, "00001", source("a", "failed", "http_429"), source("b", "failed", "http_429"))
    put = plan_store.write_inputs
    others = iter([source("a", "failed", "http_429")])

    def somebody_is_first(store, part, entries):
        for row in others:
            put(store, part, pa.table({"source_key": [row["source_key"]], "attempt": pa.array([1], pa.int16())}))
        return put(store, part, entries)

    monkeypatch.setattr(plan_store, "write_inputs", somebody_is_first)
    told = retry(run.root, clips=False)
    assert (told.sources, told.parts) == ({"http_429": 1}, ["00003"])
    assert plan_store.read_inputs(Store(run.root), "00003").column("source_key").to_pylist() == ["b"]
