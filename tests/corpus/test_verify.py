"""A corpus is really damaged, and verify has to say where."""

import hashlib
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus import compact, plan_store, units
from corpus.plan_store import parquet_bytes
from corpus.schema import fields
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
    plan_store.forget()


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
        lambda rows: pa.concat_tables([rows, rows.slice(0, 1)]),
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
    assert "its row says" not in faults(store)  # nothing is decoded unless it is asked for


def test_other_samples_than_those_that_were_cut(store):
    path = first(store, "corpus/units")
    other = hashlib.sha256(b"another sound").hexdigest()

    def stated(rows):
        hashes = pa.array([other if tar is not None else None for tar in rows.column("tar").to_pylist()])
        at = rows.schema.get_field_index("pcm_sha256")
        typed = fields("pcm_sha256").field(0)
        return rows.set_column(at, typed, hashes) if at >= 0 else rows.append_column(typed, hashes)

    rewrite(store, path, stated)
    assert "other samples than its pcm_sha256 says" in faults(store, decode=True)


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


def flip_a_bit(data, rng):
    damaged = bytearray(data)
    damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


@pytest.mark.parametrize("prefix", ["corpus/units", "corpus/columns/models", "corpus/compacted/fetch", "plan/units"])
def test_a_bit_that_flipped_anywhere_in_a_parquet(store, prefix):
    path = first(store, prefix)
    whole = store.read(path)
    rng = random.Random(7)
    for _ in range(15):
        store.replace(path, flip_a_bit(whole, rng))
        plan_store.forget()
        assert not verify_corpus(store, LEGS).ok


def test_the_audio_of_a_unit_that_cannot_be_read_is_not_swept(store):
    tars = store.list("corpus/audio")
    path = first(store, "corpus/units")
    store.replace(path, store.read(path)[:100])
    verify_corpus(store, LEGS, sweep=True)
    assert store.list("corpus/audio") == tars


def test_sweep_takes_only_tars_that_look_like_a_units(store):
    store.replace("corpus/audio/notes.txt", b"by hand")
    store.replace("corpus/audio/00000/mine.tar", b"by hand")
    verify_corpus(store, LEGS, sweep=True)
    assert {"corpus/audio/notes.txt", "corpus/audio/00000/mine.tar"} <= set(store.list("corpus/audio"))


def test_a_compacted_file_that_is_older_than_its_units(store):
    path = first(store, "corpus/units")

    def other_title(rows):
        at = rows.schema.get_field_index("title")
        return rows.set_column(at, rows.schema.field(at), [["another"] * rows.num_rows])

    rewrite(store, path, other_title)
    assert "is not what the units hold" in faults(store)
    store.delete(store.list("corpus/compacted/fetch")[0])
    compact.compact(store, "fetch", root=True)
    assert faults(store) == ""


def test_a_compacted_file_that_lags_behind_is_no_fault(store):
    last = store.list("corpus/units")[-1]
    data = store.read(last)
    store.delete(last)
    compact.compact(store, "fetch", root=True)
    store.put_if_absent(last, data)
    assert verify_corpus(store, LEGS).ok


def test_columns_whose_root_unit_is_gone(store):
    path = first(store, "corpus/units")
    store.delete(path)
    assert f"put {path} back" in faults(store)


def test_a_clip_that_the_root_leg_ended_stays_ended(store):
    path = first(store, "corpus/columns/models")

    def revive(rows):
        at = rows.schema.get_field_index("outcome")
        outcomes = ["ok" if outcome == "failed" else outcome for outcome in rows.column("outcome").to_pylist()]
        return rows.set_column(at, rows.schema.field(at), [outcomes])

    path = next(p for p in store.list("corpus/columns/models") if "failed" in read(store, p, "outcome"))
    rewrite(store, path, revive)
    assert f"{path} gives another outcome" in faults(store)


def read(store, path, column):
    return units.read_parquet(store, path, columns=[column]).column(0).to_pylist()


def test_a_plan_that_was_changed_after_units_were_made(store):
    path = plan_store.units_path("00000")
    rewrite(store, path, lambda rows: rows)  # other row groups: the same clips, not the same file
    assert "was made from another plan" in faults(store)


def test_every_fault_says_what_to_do(store):
    store.delete(first(store, "corpus/audio"))
    path = store.list("corpus/units")[-1]
    store.replace(path, store.read(path)[:100])
    for check in verify_corpus(store, LEGS).faults:
        if "planned =" not in check.name:
            assert "delete" in check.detail
