"""Shards on disk: claims, refusals, copies of committed bytes, and where a kill leaves things."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile

import pyarrow.parquet as pq
import pytest

from corpus import shards
from corpus.formats import format_named
from corpus.shardplan import COLUMNS, ExportError, ShardOptions, plan_shards
from corpus.store import Store
from corpus.views import open_view, select

OPTIONS = ShardOptions(shard_clips=4, split={"train": 2, "test": 1})
SUMMARY = {"view": {"name": "all", "without_caption": 0}, "versions": {}}


def no_recode(*args, **kwargs):
    raise AssertionError("these clips are copied")


class Exporting:
    """One export of a small corpus without joins, step by step."""

    def __init__(self, store, out):
        self.store = store
        self.view = select(self.store, ["fetch", "models"], "all")
        self.out = Store(str(out))
        self.request = {"format": "webdataset", "codec": "flac", "sample_rate_hz": None, "prefix": "", "seed": 0}
        maker = format_named("webdataset")
        self.plan = plan_shards(self.view.batches(COLUMNS), OPTIONS, maker.OVERHEAD_BYTES, maker.shard_name)

    def write(self, shard_list=None, recode=no_recode, options=OPTIONS):
        todo = self.plan.shards if shard_list is None else shard_list
        for shard, rows in self.plan.handed_out(self.view, todo):
            yield shards.export_shard(self.store, self.out, shard, rows, options, recode)

    def finish(self):
        return shards.finish(self.out, self.plan, self.request, SUMMARY)

    def all(self):
        assert shards.begin(self.out, self.request) is None
        list(self.write())
        return self.finish()


@pytest.fixture(scope="module")
def run(small_corpus, tmp_path_factory):
    return small_corpus(joined=False, clip_ms=100).make(tmp_path_factory.mktemp("corpus") / "run")


@pytest.fixture
def exporting(run, tmp_path):
    return Exporting(run, tmp_path / "out")


def test_committed_flac_is_copied_byte_for_byte(exporting):
    exporting.all()
    index = pq.read_table(exporting.out.local("index.parquet")).to_pylist()
    view = {row["clip_id"]: row for row in open_view(exporting.store, "all").read().to_pylist()}
    assert {entry["clip_id"] for entry in index} == set(view)
    for entry in index:
        copied = exporting.out.read_range(entry["shard"], entry["offset"], entry["size"])
        row = view[entry["clip_id"]]
        committed = exporting.store.read_range(row["tar"], row["tar_offset"], row["tar_size"])
        assert copied == committed
        assert hashlib.sha256(copied).hexdigest() == entry["sha256"] == row["sha256"]


def test_the_manifest_knows_every_file(exporting):
    manifest = exporting.all()
    assert sorted(exporting.out.list()) == sorted([*manifest["files"], "manifest.json"])
    for path, entry in manifest["files"].items():
        data = exporting.out.read(path)
        assert (len(data), hashlib.sha256(data).hexdigest()) == (entry["bytes"], entry["sha256"])
    assert manifest["clips"] == exporting.view.clips == sum(c["samples"] for c in manifest["counts"].values())
    for split in ("train", "test"):
        sizes = json.loads(exporting.out.read(f"{split}/sizes.json"))
        for name, count in sizes.items():
            with tarfile.open(exporting.out.local(f"{split}/{name}")) as tar:
                assert len(tar.getnames()) == 2 * count


def test_tar_headers_tell_nothing_of_when_and_where(exporting):
    exporting.all()
    with tarfile.open(exporting.out.local("train/00000.tar")) as tar:
        headers = {(m.mtime, m.uid, m.gid, m.mode, m.isfile(), "/" in m.name) for m in tar.getmembers()}
    assert headers == {(0, 0, 0, 0o444, True, False)}


def test_only_what_is_missing_is_written_again(exporting):
    shards.begin(exporting.out, exporting.request)
    first, second, *_ = list(exporting.write())
    assert shards.shards_to_do(exporting.out, exporting.plan) == []
    exporting.out.delete(f".unfinished/{first.path}.parquet")  # killed before it could note the shard
    exporting.out.delete(second.path)
    assert [s.path for s in shards.shards_to_do(exporting.out, exporting.plan)] == [first.path, second.path]


def test_a_complete_export_is_left_alone(exporting):
    manifest = exporting.all()
    assert shards.begin(exporting.out, exporting.request) == manifest
    exporting.out.delete("train/00000.tar")
    with pytest.raises(ExportError, match=r"1 of its files are gone \(e.g. train/00000.tar\)"):
        shards.begin(exporting.out, exporting.request)


def test_a_kill_between_manifest_and_tidying_is_mended(exporting):
    exporting.all()
    exporting.out.put_if_absent(".unfinished/train/00000.tar.parquet", b"left")
    exporting.out.local("train/.tmp-0123").write_bytes(b"left")
    assert shards.begin(exporting.out, exporting.request) is not None
    assert not exporting.out.local(".unfinished").exists()
    assert exporting.out.list(temporary=True) == []


def test_another_export_is_refused_with_what_differs(exporting):
    other = {**exporting.request, "codec": "mp3", "seed": 3}
    shards.begin(exporting.out, exporting.request)
    for finished in (False, True):
        if finished:
            list(exporting.write())
            exporting.finish()
        with pytest.raises(ExportError) as caught:
            shards.begin(exporting.out, other)
        assert 'codec: there "flac", asked "mp3"' in str(caught.value)
        assert "seed: there 0, asked 3" in str(caught.value)
        assert "prefix" not in str(caught.value)


def test_a_folder_of_something_else_is_refused(exporting):
    exporting.out.put_if_absent("thesis.docx", b"years of work")
    with pytest.raises(ExportError, match=r"1 files that are no export \(e.g. thesis.docx\)"):
        shards.begin(exporting.out, exporting.request)
    assert exporting.out.list() == ["thesis.docx"]


def test_a_foreign_manifest_is_refused(exporting):
    exporting.out.put_if_absent("manifest.json", b'{"files": {}, "name": "a web page"}')
    with pytest.raises(ExportError, match="another export"):
        shards.begin(exporting.out, exporting.request)
    exporting.out.replace("manifest.json", b"\x00")
    with pytest.raises(ExportError, match="no JSON"):
        shards.begin(exporting.out, exporting.request)


@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_damaged_corpus_audio_never_reaches_a_shard(run, tmp_path, damage):
    shutil.copytree(run.root, tmp_path / "run")
    exporting = Exporting(Store(str(tmp_path / "run")), tmp_path / "out")
    row = open_view(exporting.store, "all").read().to_pylist()[3]
    tar = exporting.store.local(row["tar"])
    data = bytearray(tar.read_bytes())
    data[row["tar_offset"] + 100] ^= 1
    tar.chmod(0o644)
    if damage == "gone":
        tar.unlink()
    else:
        tar.write_bytes(bytes(data) if damage == "flip" else bytes(data[: row["tar_offset"] + 10]))
    shards.begin(exporting.out, exporting.request)
    with pytest.raises(ExportError, match="autorecap verify says what is damaged"):
        list(exporting.write())


def test_the_card_holds_no_words_of_any_source(exporting):
    exporting.all()
    card = exporting.out.read("README.md").decode()
    assert "passwd" not in card
    assert "</b>" not in card
    assert "example.org" not in card
    assert "| train |" in card
