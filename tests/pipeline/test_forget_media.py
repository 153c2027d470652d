"""Cached media goes when no uncommitted unit needs it any more, and not before."""

import pyarrow as pa
import pytest

from benchmarks.synthetic import write_plan
from corpus import plan_store, units
from corpus.store import Store
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
