import pyarrow as pa
import pytest

from benchmarks.synthetic import write_plan
from corpus import plan_store
from corpus.schema import PLAN
from corpus.store import Store, StoreError


@pytest.fixture
def store(tmp_path):
    store = Store(str(tmp_path))
    write_plan(store, units=3, clips_per_unit=5, part="00000")
    write_plan(store, units=2, clips_per_unit=2, part="00001")
    return store


def test_units_are_listed_in_plan_order(store):
    infos = list(plan_store.iter_units(store))
    assert [info.unit_id for info in infos] == [
        "00000-00000",
        "00000-00001",
        "00000-00002",
        "00001-00000",
        "00001-00001",
    ]
    assert [info.rows for info in infos] == [5, 5, 5, 2, 2]
    assert infos[0].audio_ms == 50_000
    assert plan_store.unit_ids(store, "00001") == ["00001-00000", "00001-00001"]


def test_a_unit_is_read_alone(store):
    unit = plan_store.read_unit(store, "00000-00002")
    assert unit.schema.equals(PLAN)
    assert unit.num_rows == 5
    assert set(unit.column("unit_id").to_pylist()) == {"00000-00002"}
    with pytest.raises(KeyError, match="00000-00009"):
        plan_store.read_unit(store, "00000-00009")


def test_a_part_never_changes(store):
    before = plan_store.part_sha256(store, "00000")
    assert not plan_store.write_inputs(store, "00000", pa.table({"source_key": ["other"]}))
    write_plan(store, units=1, clips_per_unit=1, part="00000")
    assert plan_store.part_sha256(store, "00000") == before


def test_a_part_without_its_sources_is_listed_but_not_planned(store):
    plan_store.write_inputs(store, "00002", pa.table({"source_key": ["later"]}))
    assert plan_store.parts(store) == ["00000", "00001", "00002"]
    assert plan_store.planned_parts(store) == ["00000", "00001"]
    assert plan_store.read_sources(store).num_rows == 5
    assert plan_store.read_inputs(store, "00002").num_rows == 1


def test_clips_left_by_a_killed_planner_keep_the_sources_that_belong_to_them(store):
    write_plan(store, units=2, clips_per_unit=2, part="00002")
    clips, sources = (store.read(path("00002")) for path in (plan_store.units_path, plan_store.sources_path))
    store.delete(plan_store.sources_path("00002"))
    store.put_if_absent(plan_store._pending_path("00002", clips), sources)  # killed before the done mark
    write_plan(store, units=1, clips_per_unit=1, part="00002")  # a site said something else the second time
    assert store.read(plan_store.units_path("00002")) == clips
    assert store.read(plan_store.sources_path("00002")) == sources
    assert store.list(temporary=True) == []


def test_the_same_plan_is_the_same_bytes(store, tmp_path):
    other = Store(str(tmp_path / "other"))
    write_plan(other, units=3, clips_per_unit=5, part="00000")
    for path in other.list():
        assert other.read(path) == store.read(path)


@pytest.mark.parametrize("unit_id", ["../x-00000", "00000", "00000-00000/../..", "a-b", ""])
def test_a_unit_id_never_becomes_a_path(unit_id):
    with pytest.raises(StoreError, match="not a unit's id"):
        plan_store.part_of(unit_id)
