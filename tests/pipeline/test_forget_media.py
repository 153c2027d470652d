"""Cached media goes when no uncommitted unit needs it any more, and not before."""

import pyarrow as pa
import pytest

from benchmarks.synthetic import write_plan
from corpus import attempts, plan_store, units
from corpus.store import Store
from corpus.work_ids import unit_of, work_id
from pipeline.leftovers import forget_leftovers
from pipeline.legjob import forget_media


@pytest.fixture
def run(tmp_path):
    store = Store(str(tmp_path / "run"))
    write_plan(store, units=4, clips_per_unit=2)
    cache = tmp_path / "cache"
    for unit in range(4):
        (cache / f"synth00000-{unit:05d}").mkdir(parents=True)
    return store, cache


def kept(cache):
    return sorted(folder.name[-1] for folder in cache.glob("synth*"))


def spanning(planned, source_units):
    at = planned.schema.get_field_index("source_units")
    return planned.set_column(at, planned.schema.field(at), pa.array([source_units] * planned.num_rows, pa.int32()))


def forget(store, cache, planned, attempt=0):
    work = work_id(planned.column("unit_id")[0].as_py(), attempt)
    forget_media(store, cache, "fetch", work, planned)


def test_a_source_of_one_unit_goes_with_its_commit(run):
    store, cache = run
    forget(store, cache, plan_store.read_unit(store, "00000-00002"))
    assert kept(cache) == ["0", "1", "3"]


def test_a_source_of_many_units_stays_until_its_neighbours_are_committed(run):
    store, cache = run
    planned = spanning(plan_store.read_unit(store, "00000-00001"), 2)
    forget(store, cache, planned)
    assert kept(cache) == ["0", "1", "2", "3"]
    for unit in ("00000-00000", "00000-00001", "00000-00002"):
        store.put_if_absent(units.root_path(unit), b"committed")
    forget(store, cache, planned)
    assert kept(cache) == ["0", "2", "3"]


def test_a_source_that_is_tried_again_stays_until_the_last_retry_near_it_is_committed(run):
    store, cache = run
    planned = spanning(plan_store.read_unit(store, "00000-00001"), 2)
    for unit in ("00000-00000", "00000-00001", "00000-00002"):
        store.put_if_absent(units.root_path(unit), b"committed")
    retries = ["00000-00001.r1", "00000-00002.r1"]
    for work in retries:
        attempts.plan_retry(store, "fetch", work, plan_store.read_unit(store, unit_of(work)))
    store.put_if_absent(units.root_path(retries[0]), b"committed")
    forget(store, cache, planned, attempt=1)
    assert kept(cache) == ["0", "1", "2", "3"]
    store.put_if_absent(units.root_path(retries[1]), b"committed")
    forget(store, cache, planned, attempt=1)
    assert kept(cache) == ["0", "2", "3"]


def test_a_leftover_that_a_retry_waits_for_stays(run):
    store, cache = run
    for unit in ("00000-00001", "00000-00002"):
        store.put_if_absent(units.root_path(unit), b"committed")
    attempts.plan_retry(store, "fetch", "00000-00002.r1", plan_store.read_unit(store, "00000-00002"))
    assert forget_leftovers(store, cache, "fetch") == 1
    assert kept(cache) == ["0", "2", "3"]


def test_media_that_was_never_cached_is_no_trouble(run):
    store, cache = run
    forget(store, cache / "elsewhere", plan_store.read_unit(store, "00000-00000"))
    assert kept(cache) == ["0", "1", "2", "3"]


def test_what_a_killed_worker_left_goes_once_its_units_are_committed(run):
    store, cache = run
    (cache / ".locks").mkdir()
    (cache / "a stranger's").mkdir()
    for unit in ("00000-00001", "00000-00003"):
        store.put_if_absent(units.root_path(unit), b"committed")
    assert forget_leftovers(store, cache, "fetch") == 2
    assert kept(cache) == ["0", "2"]
    assert (cache / "a stranger's").is_dir()
    assert forget_leftovers(store, cache / "elsewhere", "fetch") == 0


def test_a_leftover_of_many_units_stays_until_the_last_of_them(tmp_path):
    store = Store(str(tmp_path / "run"))
    write_plan(store, units=2, clips_per_unit=2)
    units_there = plan_store.read_unit(store, "00000-00000"), plan_store.read_unit(store, "00000-00001")
    sources = plan_store.read_sources(store)
    store.delete(plan_store.units_path("00000"))
    store.delete(plan_store.sources_path("00000"))
    plan_store.forget()
    plan_store.write_part(store, "00000", pa.concat_tables([spanning(unit, 2) for unit in units_there]), sources)
    cache = tmp_path / "cache"
    (cache / "synth00000-00000").mkdir(parents=True)
    store.put_if_absent(units.root_path("00000-00000"), b"committed")
    assert forget_leftovers(store, cache, "fetch") == 0
    store.put_if_absent(units.root_path("00000-00001"), b"committed")
    assert forget_leftovers(store, cache, "fetch") == 1
