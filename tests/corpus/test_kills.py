"""Writers are killed for real, before each thing they do to the disk, and run again."""

import errno
import multiprocessing
import os
import resource
import signal
import sys

import pyarrow as pa
import pytest

from benchmarks.synthetic import write_plan
from corpus import compact, plan_store, units
from corpus.counts import count_outcomes
from corpus.groups import scan
from corpus.schema import AUDIO, OUTCOME, PLAN, SOURCES, fields
from corpus.store import TEMPORARY, Store
from corpus.verify import verify_corpus
from stages.base import with_columns

UNIT = "00000-00000"

#: What a process does to a disk, as Python tells an audit hook before it does it.
DISK = {"open", "os.link", "os.rename", "os.remove", "os.mkdir"}


def unit_of(store, unit_id=UNIT):
    planned = plan_store.read_unit(store, unit_id)
    count = planned.num_rows
    rows = with_columns(planned, {name: [None] * count for name in OUTCOME.names}, OUTCOME)
    audio = {"audio": [f"{unit_id} {row}".encode() * 300 for row in range(count)], "codec": ["flac"] * count}
    return planned, with_columns(rows, audio, pa.schema([*fields("audio"), *AUDIO]))


def commit(root, unit_id=UNIT):
    store = Store(root)
    plan = plan_store.part_sha256(store, "00000")
    units.commit_root(store, *unit_of(store, unit_id), units.UnitMeta("fetch", "r", plan))


def plan_a_part(root):
    write_plan(Store(root), units=2, clips_per_unit=3, part="00001")


def compact_all(root):
    compact.compact(Store(root), "fetch", root=True)


def _killed_before(number, act, root):
    done = 0

    def watch(event, args):
        nonlocal done
        wanted = (event in DISK and str(root) in str(args[0])) or event == "os.fsync"
        if wanted and (done := done + 1) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    real_fsync = os.fsync

    def fsync(handle):
        watch("os.fsync", ())
        real_fsync(handle)

    os.fsync = fsync
    sys.addaudithook(watch)
    act(str(root))
    os._exit(0)


def run(target, *args):
    child = multiprocessing.get_context("fork").Process(target=target, args=args)
    child.start()
    child.join(60)
    return child.exitcode


def start(root):
    store = Store(root)
    write_plan(store, units=2, clips_per_unit=3)
    return store


def files(store):
    return {path: store.read(path) for path in store.list()}


@pytest.mark.parametrize("act", [commit, plan_a_part, compact_all])
def test_killed_anywhere_and_run_again_it_is_as_if_nothing_had_happened(act, tmp_path):
    whole = start(tmp_path / "whole")
    if act is compact_all:
        commit(whole.root)
    act(whole.root)
    kills = 0
    for number in range(1, 60):
        store = start(tmp_path / str(number))
        if act is compact_all:
            commit(store.root)
        code = run(_killed_before, number, act, store.root)
        assert code in (0, -signal.SIGKILL)
        for path, data in files(store).items():  # what a reader sees is whole, and what it will be for ever
            assert data == files(whole)[path]
        act(store.root)
        assert files(store) == files(whole)
        assert all(TEMPORARY in path for path in store.list(temporary=True))
        kills += code != 0
        if code == 0:
            break
    assert kills >= 8
    assert verify_corpus(whole, ["fetch"]).ok


def test_a_compaction_that_is_killed_while_it_replaces_an_older_one_never_shows_a_clip_twice(tmp_path):
    for number in range(1, 60):
        store = start(tmp_path / str(number))
        commit(store.root)
        compact_all(store.root)
        commit(store.root, "00000-00001")
        code = run(_killed_before, number, compact_all, store.root)
        seen = [clip for batch in scan(store, ["fetch"], ["clip_id"]) for clip in batch.column(0).to_pylist()]
        assert len(seen) == len(set(seen))
        assert len(seen) in (3, 6)
        assert count_outcomes(store, ["fetch"]).legs[0].clips_done == 6
        compact_all(store.root)
        assert len(store.list("corpus/compacted")) == 1
        if code == 0:
            break
    assert number > 4


def test_killed_between_two_commits_of_different_bytes_nothing_is_lost(tmp_path):
    store = start(tmp_path / "run")
    for number in range(1, 60):
        if run(_killed_before, number, commit, store.root) == 0:
            break
    report = verify_corpus(store, ["fetch"], sweep=True)
    assert report.ok
    assert store.list(temporary=True) == []
    root = units.read_root_unit(store, UNIT)
    assert units.read_audios(store, root) == [f"{UNIT} {row}".encode() * 300 for row in range(3)]


def _commit_on_a_disk_of(size, root):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    try:
        commit(root)
    except OSError as error:
        os._exit(7 if error.errno in (errno.EFBIG, errno.ENOSPC) else 8)
    os._exit(0)


@pytest.mark.parametrize("size", [100, 6_000, 12_000])
def test_a_disk_that_fills_up_during_a_commit_leaves_at_most_a_whole_tar(size, tmp_path):
    store = start(tmp_path / "run")
    before = files(store)
    assert run(_commit_on_a_disk_of, size, store.root) == 7
    left = {path: data for path, data in files(store).items() if path not in before}
    commit(store.root)
    after = files(store)
    assert all(after[path] == data for path, data in left.items())
    assert all(path.endswith(".tar") for path in left)
    assert store.list(temporary=True) == []
    assert verify_corpus(store, ["fetch"]).ok


def _plan_as(name, root, barrier):
    store = Store(root)
    clips = 2 if name == "one" else 3
    sources = [{"source_key": name, "source_id": name, "clips": clips, "outcome": "planned", "attempt": 0}]
    rows = [
        {
            "clip_id": f"{name}_{at}_{at + 1}",
            "source_id": name,
            "source_key": name,
            "unit_id": "00007-00000",
            "row": at,
            "start_ms": at,
            "end_ms": at + 1,
        }
        for at in range(clips)
    ]
    barrier.wait()
    won = plan_store.write_part(
        store, "00007", pa.Table.from_pylist(rows, schema=PLAN), pa.Table.from_pylist(sources, schema=SOURCES)
    )
    os._exit(10 if won else 11)


def test_two_planners_who_were_told_different_things_leave_one_plan(tmp_path):
    context = multiprocessing.get_context("fork")
    for trial in range(8):
        store = Store(tmp_path / str(trial))
        barrier = context.Barrier(2)
        planners = [context.Process(target=_plan_as, args=(name, store.root, barrier)) for name in ("one", "two")]
        for planner in planners:
            planner.start()
        for planner in planners:
            planner.join(60)
        assert sorted(planner.exitcode for planner in planners) == [10, 11]
        clips = plan_store.read_unit(store, "00007-00000")
        sources = plan_store.read_sources(store)
        assert sources.column("source_id").to_pylist() == [clips.column("source_id")[0].as_py()]
        assert sources.column("clips").to_pylist() == [clips.num_rows]
