"""A corpus is really damaged, and verify has to say where."""

import pyarrow.parquet as pq
import pytest

from corpus import units
from corpus.plan_store import parquet_bytes
from corpus.verify import verify_corpus

LEGS = ["fetch", "models"]


@pytest.fixture
def store(small_corpus, tmp_path):
    return small_corpus().make(tmp_path / "run")


def first(store, prefix):
    return next(path for path in store.list(prefix) if not path.endswith(".json"))


def rewrite(store, path, change):
    with store.open(path) as file:
        rows = pq.ParquetFile(file).read()
    store.replace(path, parquet_bytes(change(rows)))


def faults(store, **options):
    return "\n".join(check.detail for check in verify_corpus(store, LEGS, **options).faults)


def test_a_sound_corpus_is_sound(store):
    report = verify_corpus(store, LEGS, decode=True)
    assert report.ok, report.lines()
    assert any("planned = ok + filtered + merged + failed" in line for line in report.lines())


def test_a_flipped_byte_in_a_tar(store):
    path = first(store, "corpus/audio")
    data = bytearray(store.read(path))
    data[len(data) // 2] ^= 1
    store.replace(path, bytes(data))
    assert f"{path} does not match its hash" in faults(store)


def test_a_missing_tar(store):
    path = first(store, "corpus/audio")
    store.delete(path)
    assert f"{path} is missing" in faults(store)


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows.slice(1),
        lambda rows: rows.take([1, 0, *range(2, rows.num_rows)]),
    ],
)
@pytest.mark.parametrize("prefix", ["corpus/units", "corpus/columns/models"])
def test_rows_that_are_not_the_planned_ones(store, prefix, change):
    path = first(store, prefix)
    rewrite(store, path, change)
    assert path in faults(store)


def test_a_row_without_an_outcome(store):
    path = first(store, "corpus/units")

    def forget(rows):
        at = rows.schema.get_field_index("outcome")
        return rows.set_column(at, "outcome", [[None, *rows.column("outcome").to_pylist()[1:]]])

    rewrite(store, path, forget)
    assert "whose outcome is None" in faults(store)
    assert not all(check.ok for check in verify_corpus(store, LEGS).checks if "planned = ok" in check.name)


def test_a_parquet_cut_short(store):
    path = first(store, "corpus/columns/models")
    store.replace(path, store.read(path)[:100])
    assert f"{path} cannot be read" in faults(store)


def test_a_member_that_its_row_does_not_describe(store):
    path = first(store, "corpus/units")

    def shift(rows):
        at = rows.schema.get_field_index("tar_offset")
        offsets = [value + 512 if value is not None else None for value in rows.column("tar_offset").to_pylist()]
        return rows.set_column(at, rows.schema.field(at), [offsets])

    rewrite(store, path, shift)
    assert "does not lie where its row says" in faults(store)


def test_samples_that_are_not_as_stated(store):
    path = first(store, "corpus/units")

    def more(rows):
        at = rows.schema.get_field_index("num_samples")
        counts = [value + 1 if value is not None else None for value in rows.column("num_samples").to_pylist()]
        return rows.set_column(at, rows.schema.field(at), [counts])

    rewrite(store, path, more)
    assert "its row says" in faults(store, decode=True)
    assert faults(store) == ""


def test_leftovers_are_counted_and_swept_and_nothing_else(store):
    before = store.list()
    store.put_if_absent("corpus/audio/00000/00000-00000-0123456789ab.tar", b"orphan")
    (store.local("corpus/units/00000") / ".tmp-dead").write_bytes(b"half")
    report = verify_corpus(store, LEGS)
    assert report.ok
    assert "1 orphan tars, 1 temporary files" in report.lines()[-1]
    verify_corpus(store, LEGS, sweep=True)
    assert store.list() == before
    assert store.list(temporary=True) == []


def test_a_unit_that_nobody_planned(store):
    path = first(store, "corpus/units")
    store.put_if_absent(units.root_path("00009-00000"), store.read(path))
    assert "00009-00000" in faults(store)
