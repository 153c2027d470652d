import pyarrow as pa
import pytest

from corpus import compact, units
from corpus.counts import count_outcomes


@pytest.fixture
def store(small_corpus, tmp_path):
    return small_corpus(sources=8, unit_sources=2).make(tmp_path / "run")


def read(store, legs, columns):
    return pa.Table.from_batches(list(compact.scan(store, legs, columns)))


def test_compacted_rows_are_the_units_rows_in_plan_order(store):
    table = read(store, ["fetch"], ["clip_id", "outcome", "title"])
    done = sorted(units.done_units(store, "fetch", root=True))
    ids = [clip for unit in done for clip in units.read_root_unit(store, unit).column("clip_id").to_pylist()]
    assert table.column("clip_id").to_pylist() == ids


def test_a_later_leg_lies_beside_the_root_and_its_outcome_counts(store):
    both = read(store, ["fetch", "models"], ["clip_id", "caption", "outcome", "tar"])
    assert both.column_names == ["clip_id", "caption", "outcome", "tar"]
    assert both.num_rows == 48
    models = read(store, ["models"], ["clip_id", "outcome"])
    assert both.column("outcome").equals(models.column("outcome"))
    with pytest.raises(KeyError, match="nonsense"):
        read(store, ["fetch", "models"], ["nonsense"])


def test_small_groups_give_several_files_and_the_same_rows(store):
    whole = read(store, ["fetch", "models"], ["clip_id", "caption"])
    for leg, root in (("fetch", True), ("models", False)):
        assert len(compact.compact(store, leg, root=root, target_rows=20)) == 2
    assert read(store, ["fetch", "models"], ["clip_id", "caption"]).equals(whole)


def test_compacting_again_writes_nothing(store):
    files = store.list("corpus/compacted")
    times = {path: store.local(path).stat().st_mtime_ns for path in files}
    compact.compact(store, "fetch", root=True)
    assert {path: store.local(path).stat().st_mtime_ns for path in store.list("corpus/compacted")} == times


def test_a_leg_that_is_behind_shows_what_both_have_and_catches_up(store):
    missing = sorted(units.done_units(store, "models", root=False))[1]
    path = units.columns_path("models", missing)
    data = store.read(path)
    whole = read(store, ["fetch", "models"], ["clip_id", "caption", "tar"])
    store.delete(path)
    compact.compact(store, "models", root=False)
    less = read(store, ["fetch", "models"], ["clip_id", "caption", "tar"])
    assert less.num_rows == 36
    store.put_if_absent(path, data)
    compact.compact(store, "models", root=False)
    assert len(store.list("corpus/compacted/models")) == 1
    assert read(store, ["fetch", "models"], ["clip_id", "caption", "tar"]).equals(whole)


def test_counts_add_up(store):
    counts = count_outcomes(store, ["fetch", "models"])
    assert counts.planned_clips == 48
    assert counts.sources == {"planned": 8}
    for leg in counts.legs:
        assert leg.clips_done == 48 == leg.outcomes.total()
    last = counts.last
    assert last.total("ok") + last.total("filtered") + last.total("merged") + last.total("failed") == 48
    assert counts.legs[0].ok_audio_ms == counts.legs[0].total("ok") * 500
