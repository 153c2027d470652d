import functools
import tempfile
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.synthetic import write_plan
from corpus import compact, compacted, latest, plan_store, units, views
from corpus.compacted import CompactionError
from corpus.counts import count_outcomes
from corpus.groups import scan
from corpus.store import Store
from corpus.view_query import ViewError
from corpus.views import open_view, select


@pytest.fixture
def store(small_corpus, tmp_path):
    return small_corpus(sources=8, unit_sources=2).make(tmp_path / "run")


def read(store, legs, columns):
    return pa.Table.from_batches(list(scan(store, legs, columns)))


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


def test_what_a_killed_compaction_left_is_not_read_twice(store):
    path = store.list("corpus/compacted/fetch")[0]
    whole = store.read(path)
    unit = store.list("corpus/units")[0]
    data = store.read(unit)
    store.delete(unit)
    compact.compact(store, "fetch", root=True)
    store.replace(path, whole)  # the fuller file is in place, the older one not deleted yet
    assert read(store, ["fetch"], ["clip_id"]).num_rows == 48
    store.put_if_absent(unit, data)
    assert compact.compact(store, "fetch", root=True) == [path]
    assert store.list("corpus/compacted/fetch") == [path]


def test_a_plan_that_grew_hides_nothing_of_a_leg_that_was_not_compacted_since(store):
    write_plan(store, 1, 3, part="00001")
    compact.compact(store, "fetch", root=True)
    assert read(store, ["fetch", "models"], ["clip_id", "caption"]).num_rows == 48


def test_two_later_legs_that_lack_different_units_of_the_same_size(store):
    for path in store.list("corpus/columns/models"):
        store.put_if_absent(path.replace("/models/", "/other/"), store.read(path))
    first, second = store.list("corpus/columns/models")[:2]
    store.delete(first)
    store.delete(second.replace("/models/", "/other/"))
    for leg in ("models", "other"):
        compact.compact(store, leg, root=False)
    table = read(store, ["fetch", "models", "other"], ["clip_id", "unit_id", "caption"])
    assert sorted(set(table.column("unit_id").to_pylist())) == ["00000-00002", "00000-00003"]


def test_files_that_overlap_are_refused(store):
    path = store.list("corpus/compacted/fetch")[0]
    store.replace(path.replace("00000-00000_", "00000-00001_"), store.read(path))
    with pytest.raises(CompactionError, match="delete corpus/compacted"):
        read(store, ["fetch"], ["clip_id"])


def test_compaction_writes_beside_the_run_and_leaves_nothing_else(store, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    for path in store.list("corpus/compacted"):
        store.delete(path)
    compact.compact(store, "fetch", root=True)
    assert store.list(temporary=True) == []


def test_the_same_units_are_the_same_compacted_bytes(store, small_corpus, tmp_path):
    other = small_corpus(sources=8, unit_sources=2).make(tmp_path / "other")
    assert other.list("corpus/compacted") == store.list("corpus/compacted")  # names carry the hash


def test_counts_are_the_same_compacted_or_not_or_half(store):
    compacted = count_outcomes(store, ["fetch", "models"])
    last = store.list("corpus/units")[-1]
    data = store.read(last)
    store.delete(last)
    compact.compact(store, "fetch", root=True)
    store.put_if_absent(last, data)
    half = count_outcomes(store, ["fetch", "models"])
    for path in store.list("corpus/compacted"):
        store.delete(path)
    assert compacted == half == count_outcomes(store, ["fetch", "models"])


def test_counts_of_a_unit_that_was_taken_away_are_not_in_the_sum(store):
    store.delete(store.list("corpus/units")[0])
    counts = count_outcomes(store, ["fetch"])
    assert (counts.legs[0].units_done, counts.legs[0].clips_done) == (3, 36)


def test_pictures_stay_in_the_units(tmp_path):
    store = Store(str(tmp_path))
    write_plan(store, 2, 3)
    for unit_id in ("00000-00000", "00000-00001"):
        planned = plan_store.read_unit(store, unit_id)
        rows = planned
        for name in ("outcome", "reason"):
            rows = rows.append_column(name, pa.nulls(3, pa.string()))
        rows = rows.append_column("frame_kind", pa.array(["video"] * 3))
        rows = rows.append_column("frame_jpeg", pa.array([b"jpeg"] * 3))
        units.commit_root(store, planned, rows, units.UnitMeta("fetch", "recipe", "part"))
        assert units.read_root_unit(store, unit_id).column("frame_jpeg").to_pylist() == [b"jpeg"] * 3
    compact.compact(store, "fetch", root=True)
    assert read(store, ["fetch"], ["frame_kind"]).column("frame_kind").to_pylist() == ["video"] * 6
    with pytest.raises(KeyError, match="frame_jpeg"):
        read(store, ["fetch"], ["frame_jpeg"])


def test_what_a_view_refers_to_stays_until_no_view_does(store):
    unit = store.list("corpus/units")[-1]
    data = store.read(unit)
    store.delete(unit)
    compact.compact(store, "fetch", root=True)
    old = store.list("corpus/compacted/fetch")
    view = select(store, ["fetch", "models"], "v")
    rows = view.read()
    store.put_if_absent(unit, data)
    (new,) = compact.compact(store, "fetch", root=True)
    assert store.list("corpus/compacted/fetch") == sorted([*old, new])
    assert open_view(store, "v").read().equals(rows)  # the rows that it has counted, whatever came later
    assert read(store, ["fetch"], ["clip_id"]).num_rows == 48  # readers take the fuller file
    assert select(store, ["fetch", "models"], "v").clips > len(rows)
    compact.compact(store, "fetch", root=True)
    assert store.list("corpus/compacted/fetch") == [new]


def test_a_view_whose_rows_were_taken_out_of_the_corpus_says_so(store):
    select(store, ["fetch"], "v")
    store.delete(store.list("corpus/units")[0])
    compact.compact(store, "fetch", root=True)
    with pytest.raises(ViewError, match="is gone; run autorecap select again"):
        open_view(store, "v").read()


def test_a_new_attempt_of_a_unit_is_taken_up(store):
    unit = "00000-00000"
    path = units.root_path(unit)
    table = units.read_root_unit(store, unit)
    again = table.slice(0, 2)
    again = again.set_column(again.schema.get_field_index("title"), "title", pa.array(["tried again"] * 2))
    store.put_if_absent(path.replace(unit, f"{unit}.r1"), plan_store.parquet_bytes(again))
    (new,) = compact.compact(store, "fetch", root=True)
    titles = read(store, ["fetch"], ["title"]).column("title").to_pylist()
    assert titles[:2] == ["tried again"] * 2
    assert titles[2] != "tried again"
    assert store.list("corpus/compacted/fetch") == [new]
    assert read(store, ["fetch", "models"], ["title", "caption"]).num_rows == 48


def test_a_file_that_is_about_to_go_is_not_referred_to(store, monkeypatch):
    """A compaction that has read the views before this one was written deletes a file that it names."""
    (path,) = store.list("corpus/compacted/fetch")
    data = store.read(path)
    real, times = compacted.all_stay, []

    def another_compaction_is_faster(store, paths):
        times.append(paths)
        if len(times) == 1:
            store.delete(path)
        return real(store, paths)

    monkeypatch.setattr(views, "all_stay", another_compaction_is_faster)
    view = select(store, ["fetch", "models"], "v", prepare=lambda: store.put_if_absent(path, data))
    assert len(times) == 2
    assert view.read().num_rows == view.clips
    store.put_if_absent(f"{path}.going-0123", b"")
    monkeypatch.setattr(compacted, "_MARKS_STAY_S", 0.1)
    assert select(store, ["fetch", "models"], "v").clips == view.clips  # the mark of one that was killed
    assert store.list("corpus/compacted/fetch") == [path]


def test_a_compaction_whose_mark_was_taken_for_a_killed_ones_leaves_the_file(store, monkeypatch):
    """It had read the views before this one was written, and then slept for longer than a mark stays."""
    (path,) = store.list("corpus/compacted/fetch")
    real = compacted.view_summaries

    def reads_and_sleeps(store):
        before = real(store)
        monkeypatch.setattr(compacted, "view_summaries", real)
        monkeypatch.setattr(compacted, "_MARKS_STAY_S", 0.0)
        select(store, ["fetch"], "v")
        return before

    monkeypatch.setattr(compacted, "view_summaries", reads_and_sleeps)
    compacted.take_away(store, [path])
    assert open_view(store, "v").read().num_rows == open_view(store, "v").clips
    assert store.list("corpus/compacted/fetch") == [path]


def test_a_file_that_goes_while_it_is_read_is_read_up_to_a_whole_unit(store, monkeypatch):
    """An object store has no open files: what comes next is not there any more."""

    class Going:
        def __init__(self, file):
            self.whole = pq.ParquetFile(file)

        def iter_batches(self, rows, columns):
            yield from list(self.whole.iter_batches(rows, columns=columns))[:2]
            raise FileNotFoundError

    monkeypatch.setattr(latest, "_BATCH_ROWS", 7)  # units have 16
    monkeypatch.setattr(latest, "pq", SimpleNamespace(ParquetFile=Going))
    tables = latest.latest_clips(store, "fetch", ["clip_id"], root=True)
    found = [clip for rows in tables for clip in rows.column("clip_id").to_pylist()]
    assert sorted(found) == sorted(read(store, ["fetch"], ["clip_id"]).column("clip_id").to_pylist())


def test_compactions_and_views_at_once_while_units_are_committed(store, tmp_path):
    """Four threads select, one commits: every view shows whole rows, and what is left are the fullest files."""
    rest = {path: store.read(path) for path in store.list("corpus/units")[1:]}
    for path in [*rest, *store.list("corpus/compacted/fetch")]:
        store.delete(path)
    compact.compact(store, "fetch", root=True)

    def look(number):
        for _ in range(6):
            prepare = functools.partial(compact.compact, store, "fetch", root=True)
            prepare()
            view = select(store, ["fetch"], f"v{number}", prepare=prepare)
            assert open_view(store, view.name).read(["clip_id", "tar"]).num_rows == view.clips

    with ThreadPoolExecutor(4) as pool:
        looks = [pool.submit(look, number) for number in range(4)]
        for path, data in rest.items():
            store.put_if_absent(path, data)
        for done in looks:
            done.result()
    compact.compact(store, "fetch", root=True)
    assert select(store, ["fetch"], "v").clips == counts_of_ok(store)
    assert not [path for path in store.list("corpus/compacted") if ".going-" in path]


def counts_of_ok(store):
    return count_outcomes(store, ["fetch"]).legs[0].total("ok")
