import io
import os
import tarfile

import pyarrow as pa
import pytest

from benchmarks.synthetic import write_plan
from corpus import plan_store, units
from corpus.schema import AUDIO, OUTCOME, fields
from corpus.store import Store, StoreError
from corpus.tar import pack
from stages.base import with_columns

META = units.UnitMeta(leg="fetch", recipe_sha256="r", plan_part_sha256="p")
UNIT = "00000-00001"


@pytest.fixture
def store(tmp_path):
    store = Store(str(tmp_path / "run"))
    write_plan(store, units=3, clips_per_unit=4)
    return store


def fetched(store, unit_id=UNIT, outcomes=(None, "failed", None, "filtered")):
    planned = plan_store.read_unit(store, unit_id)
    audio = [f"{unit_id} {row}".encode() * 50 if outcome is None else None for row, outcome in enumerate(outcomes)]
    columns = {
        "outcome": list(outcomes),
        "reason": [None if outcome is None else "gone" for outcome in outcomes],
        "detail": [None] * 4,
        "stage": [None] * 4,
        "attempt": [0] * 4,
    }
    rows = with_columns(planned, columns, OUTCOME)
    return planned, with_columns(rows, {"audio": audio, "codec": ["flac"] * 4}, pa.schema([*fields("audio"), *AUDIO]))


def test_a_commit_keeps_every_planned_row_and_its_audio(store):
    planned, rows = fetched(store)
    result = units.commit_root(store, planned, rows, META)
    assert result.committed
    committed = units.read_root_unit(store, UNIT)
    assert committed.column("clip_id").equals(planned.column("clip_id"))
    assert committed.column("outcome").to_pylist() == ["ok", "failed", "ok", "filtered"]
    assert {"audio", "media", "media_path", "source_units"}.isdisjoint(committed.column_names)
    assert units.read_audios(store, committed) == [rows.column("audio")[at].as_py() for at in range(4)]
    assert units.read_meta(store, result.path)["autorecap.plan_part_sha256"] == "p"
    assert units.done_units(store, "fetch", root=True) == {UNIT}


def test_the_tar_is_one_that_tar_reads_and_says_where_its_members_lie(store):
    planned, rows = fetched(store)
    units.commit_root(store, planned, rows, META)
    committed = units.read_root_unit(store, UNIT).to_pylist()
    path = committed[0]["tar"]
    data = store.read(path)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = {member.name: member for member in tar.getmembers()}
    assert sorted(members) == sorted(row["tar_member"] for row in committed if row["tar_member"])
    for row in committed:
        if row["tar"]:
            member = members[row["tar_member"]]
            assert (member.offset_data, member.size, member.mtime, member.uid) == (
                row["tar_offset"],
                row["tar_size"],
                0,
                0,
            )
    assert committed[1]["tar"] is None


def test_the_same_rows_are_the_same_bytes(store, tmp_path):
    other = Store(str(tmp_path / "other"))
    write_plan(other, units=3, clips_per_unit=4)
    for one in (store, other):
        units.commit_root(one, *fetched(one), META)
    assert store.list("corpus") == other.list("corpus")
    assert all(store.read(path) == other.read(path) for path in store.list())


def test_the_second_commit_of_a_unit_changes_nothing(store):
    planned, rows = fetched(store)
    units.commit_root(store, planned, rows, META)
    before = {path: store.read(path) for path in store.list()}
    _, others = fetched(store, outcomes=(None, None, None, None))
    assert not units.commit_root(store, planned, others, META).committed
    assert {path: store.read(path) for path in store.list()} == before


@pytest.mark.parametrize(
    "spoil",
    [
        lambda rows: rows.slice(1),
        lambda rows: pa.concat_tables([rows, rows.slice(0, 1)]),
        lambda rows: rows.take([1, 0, 2, 3]),
        lambda rows: with_columns(rows, {"outcome": ["fine"] * 4}, OUTCOME),
        lambda rows: with_columns(rows, {"reason": [None] * 4}, OUTCOME),
    ],
)
def test_rows_that_are_not_the_planned_unit_are_refused_and_leave_nothing(store, spoil):
    planned, rows = fetched(store)
    with pytest.raises(units.NotThePlannedUnit, match=UNIT):
        units.commit_root(store, planned, spoil(rows), META)
    assert store.list("corpus") == []


def test_a_clip_id_never_becomes_a_path(store):
    planned, rows = fetched(store)
    ids = ["../../evil", *planned.column("clip_id").to_pylist()[1:]]
    planned, rows = (with_columns(table, {"clip_id": ids}, fields("clip_id")) for table in (planned, rows))
    with pytest.raises(units.NotThePlannedUnit, match="not a clip id"):
        units.commit_root(store, planned, rows, META)


def test_a_unit_without_audio_has_no_tar(store):
    planned, rows = fetched(store, outcomes=("failed",) * 4)
    units.commit_root(store, planned, rows, META)
    assert store.list("corpus/audio") == []
    assert units.read_audios(store, units.read_root_unit(store, UNIT)) == [None] * 4


def test_columns_of_a_later_leg(store):
    planned, rows = fetched(store)
    units.commit_root(store, planned, rows, META)
    root = units.read_root_unit(store, UNIT)
    rows = with_columns(root, {"caption": ["a", None, "b", None]}, fields("caption"))
    adds = fields("caption", "clap_score", "audio")
    units.commit_columns(store, "models", root, rows, adds, META)
    columns = units.read_columns_unit(store, "models", UNIT)
    assert columns.column("caption").to_pylist() == ["a", None, "b", None]
    assert columns.column("clap_score").null_count == 4
    assert "audio" not in columns.column_names
    assert units.done_units(store, "models", root=False) == {UNIT}


def test_audio_that_is_gone_is_none_not_an_error(store):
    planned, rows = fetched(store)
    units.commit_root(store, planned, rows, META)
    root = units.read_root_unit(store, UNIT)
    os.truncate(store.local(root.column("tar")[0].as_py()), 700)
    assert units.read_audios(store, root)[2] is None
    store.delete(root.column("tar")[0].as_py())
    assert units.read_audios(store, root) == [None] * 4


def test_a_codec_never_becomes_a_path_either(store):
    planned, rows = fetched(store)
    rows = with_columns(rows, {"codec": ["/../../evil"] * 4}, AUDIO)
    with pytest.raises(units.NotThePlannedUnit, match="codec"):
        units.commit_root(store, planned, rows, META)
    assert store.list("corpus") == []


@pytest.mark.parametrize("leg", ["../models", "", "a/b", "a.b"])
def test_a_legs_name_never_becomes_a_path(leg):
    with pytest.raises(StoreError, match="not a leg's name"):
        units.columns_path(leg, UNIT)


def test_columns_have_the_types_that_were_promised(store):
    planned, rows = fetched(store)
    units.commit_root(store, planned, rows, META)
    root = units.read_root_unit(store, UNIT)
    loose = root.set_column(root.schema.get_field_index("detail"), "detail", pa.nulls(4))
    loose = loose.append_column("clap_score", pa.array([0.5, None, 0.25, None], pa.float64()))
    units.commit_columns(store, "models", root, loose, fields("clap_score"), META)
    schema = units.read_columns_unit(store, "models", UNIT).schema
    assert (schema.field("detail").type, schema.field("clap_score").type) == (pa.string(), pa.float32())


def test_neighbours_are_one_read_and_far_ones_are_not(store, monkeypatch):
    planned, rows = fetched(store, outcomes=(None,) * 4)
    far = [b"a" * 100, b"b" * 200, b"c" * (units.READ_GAP_BYTES + 1), b"d"]
    rows = with_columns(rows, {"audio": far}, fields("audio"))
    units.commit_root(store, planned, rows, META)
    root = units.read_root_unit(store, UNIT)
    reads = []
    read_range = Store.read_range
    monkeypatch.setattr(Store, "read_range", lambda *args: reads.append(args[1:]) or read_range(*args))
    assert units.read_audios(store, root.take([3, 1, 0])) == [b"d", b"b" * 200, b"a" * 100]
    assert len(reads) == 2
    assert units.read_audios(store, root) == far
    assert len(reads) == 3


def test_a_store_that_cannot_be_reached_is_no_lost_clip(store, monkeypatch):
    planned, rows = fetched(store)
    units.commit_root(store, planned, rows, META)

    def down(*args):
        raise TimeoutError("the store does not answer")

    monkeypatch.setattr(Store, "read_range", down)
    with pytest.raises(TimeoutError):
        units.read_audios(store, units.read_root_unit(store, UNIT))


def test_a_long_name_lies_where_its_row_says(tmp_path):
    members = [("n" * 150 + ".flac", b"x" * 700), ("short.flac", b""), ("last.flac", b"y" * 512)]
    data, placed = pack(members)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert [(m.name, m.offset_data, m.size) for m in tar] == [(p.name, p.offset, p.size) for p in placed]
    assert [data[p.offset : p.offset + p.size] for p in placed] == [content for _, content in members]
    assert pack(members)[0] == data


def test_a_unit_on_an_object_store(tmp_path):
    store = Store(f"memory://{tmp_path.name}/run")
    write_plan(store, units=3, clips_per_unit=4)
    planned, rows = fetched(store)
    assert units.commit_root(store, planned, rows, META).committed
    assert not units.commit_root(store, planned, rows, META).committed
    root = units.read_root_unit(store, UNIT)
    assert units.read_audios(store, root) == [rows.column("audio")[at].as_py() for at in range(4)]


def test_a_damaged_unit_says_which_and_what_to_do(store):
    units.commit_root(store, *fetched(store), META)
    path = units.root_path(UNIT)
    store.replace(path, store.read(path)[:50])
    with pytest.raises(OSError, match=f"{path} cannot be read .* autorecap verify"):
        units.read_root_unit(store, UNIT)


@pytest.mark.parametrize(("keep", "members"), [((), 1), (["silent"], 2), ("all", 3)])
def test_the_audio_of_filtered_clips_is_kept_by_reason(tmp_path, keep, members):
    store = Store(str(tmp_path))
    write_plan(store, 1, 5)
    planned = plan_store.read_unit(store, "00000-00000")
    outcomes = [None, "filtered", "filtered", "failed", "filtered"]
    rows = planned.append_column("outcome", pa.array(outcomes))
    rows = rows.append_column("reason", pa.array([None, "silent", "speech_heard", "crashed", "past_end"]))
    rows = rows.append_column("audio", pa.array([b"a", b"b", b"c", b"d", None], pa.large_binary()))
    units.commit_root(store, planned, rows, META, keep_audio=keep)
    root = units.read_root_unit(store, "00000-00000")
    assert root.column("tar_member").is_valid().to_pylist() == [at < members for at in range(5)]
    assert root.column("outcome").to_pylist() == ["ok", *outcomes[1:]]
    assert units.read_audios(store, root)[:members] == [b"a", b"b", b"c"][:members]
