"""Cached media goes when no uncommitted unit needs it any more, and not before."""

import pyarrow as pa
import pytest

from benchmarks.synthetic import write_plan
from corpus import plan_store, units
from corpus.store import Store
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


def test_a_source_of_one_unit_goes_with_its_commit(run):
    store, cache = run
    forget_media(store, cache, plan_store.read_unit(store, "00000-00002"))
    assert kept(cache) == ["0", "1", "3"]


def test_a_source_of_many_units_stays_until_its_neighbours_are_committed(run):
    store, cache = run
    planned = spanning(plan_store.read_unit(store, "00000-00001"), 2)
    forget_media(store, cache, planned)
    assert kept(cache) == ["0", "1", "2", "3"]
    for unit in ("00000-00000", "00000-00001", "00000-00002"):
        store.put_if_absent(units.root_path(unit), b"committed")
    forget_media(store, cache, planned)
    assert kept(cache) == ["0", "2", "3"]


def test_media_that_was_never_cached_is_no_trouble(run):
    store, cache = run
    forget_media(store, cache / "elsewhere", plan_store.read_unit(store, "00000-00000"))
    assert kept(cache) == ["0", "1", "2", "3"]


def test_what_a_killed_worker_left_goes_once_its_units_are_committed(run):
    store, cache = run
    (cache / ".locks").mkdir()
    (cache / "a stranger's").mkdir()
    for unit in ("00000-00001", "00000-00003"):
        store.put_if_absent(units.root_path(unit), b"committed")
    assert forget_leftovers(store, cache) == 2
    assert kept(cache) == ["0", "2"]
    assert (cache / "a stranger's").is_dir()
    assert forget_leftovers(store, cache / "elsewhere") == 0


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
    assert forget_leftovers(store, cache) == 0
    store.put_if_absent(units.root_path("00000-00001"), b"committed")
    assert forget_leftovers(store, cache) == 1
