"""verify_shards on exports that are really damaged: each fault is found, and named."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile

import pytest

from corpus import shards
from corpus.formats import format_named
from corpus.shardplan import COLUMNS, ShardOptions, plan_shards
from corpus.store import Store
from corpus.verify_shards import verify_shards
from corpus.views import select


@pytest.fixture(scope="module")
def good(small_corpus, tmp_path_factory):
    """A good export of copies: some train shards, some test shards."""
    tmp_path = tmp_path_factory.mktemp("good")
    store = small_corpus(joined=False, clip_ms=100).make(tmp_path / "run")
    view = select(store, ["fetch", "models"], "all")
    made = Store(str(tmp_path / "out"))
    request = {"format": "webdataset", "codec": "flac", "sample_rate_hz": None, "prefix": ""}
    options = ShardOptions(shard_clips=4, split={"train": 2, "test": 1})
    maker = format_named("webdataset")
    plan = plan_shards(view.batches(COLUMNS), options, maker.OVERHEAD_BYTES, maker.shard_name)
    shards.begin(made, request)
    for shard, rows in plan.handed_out(view, plan.shards):
        shards.export_shard(store, made, shard, rows, options, None)
    shards.finish(made, plan, request, {"view": {"name": "all"}, "versions": {}})
    return made


@pytest.fixture
def out(good, tmp_path):
    """A copy of it, to be damaged."""
    shutil.copytree(good.root, tmp_path / "out")
    return Store(str(tmp_path / "out"))


def faults(out, decode=False):
    return {check.name: check.detail for check in verify_shards(out.root, decode=decode).checks if not check.ok}


def rewrite(out, path, change):
    """Change a shard's members and make the manifest agree, so that only the deeper checks can see it."""
    with tarfile.open(out.local(path)) as tar:
        members = [(member, tar.extractfile(member).read()) for member in tar.getmembers()]
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for member, data in change(members):
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    out.replace(path, file.getvalue())
    agree(out, path)


def agree(out, path):
    manifest = json.loads(out.read("manifest.json"))
    data = out.read(path)
    manifest["files"][path] |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    out.replace("manifest.json", json.dumps(manifest).encode())


def test_a_good_export_passes_every_check(out):
    report = verify_shards(out.root, decode=True)
    assert report.ok, report.lines()
    assert {"numbering", "member pairs", "audio decodes to what is stated"} <= {c.name for c in report.checks}


@pytest.mark.parametrize("where", [0, 600, 5000, -1])
def test_one_flipped_bit(out, where):
    file = out.local("train/00001.tar")
    data = bytearray(file.read_bytes())
    data[where] ^= 0x10
    out.replace("train/00001.tar", bytes(data))
    found = faults(out)
    assert "train/00001.tar" in found["shard checksums"]
    assert all("00001" in detail for detail in found.values())


def test_a_flipped_bit_in_audio_names_the_clip(out):
    def flip(members):
        member, data = members[2]
        members[2] = (member, data[:500] + bytes([data[500] ^ 1]) + data[501:])
        return members

    rewrite(out, "train/00000.tar", flip)
    assert ".flac is not the audio that was written" in faults(out)["audio checksums"]


@pytest.mark.parametrize("number", [0, 1, -1])
def test_a_missing_shard(out, number):
    paths = sorted(path for path in out.list("train") if path.endswith(".tar"))
    out.delete(paths[number])
    found = faults(out)
    assert found["files present"] == f"{paths[number]} is missing"
    assert found["numbering"] == f"train has no shard number {paths[number][6:11]}"


def test_a_gap_in_the_numbering_that_the_manifest_repeats(out):
    manifest = json.loads(out.read("manifest.json"))
    del manifest["files"]["train/00001.tar"]
    manifest["counts"]["train"]["shards"] -= 1
    out.replace("manifest.json", json.dumps(manifest).encode())
    out.delete("train/00001.tar")
    assert faults(out)["numbering"] == "train has no shard number 00001"


@pytest.mark.parametrize("lost", [0, 1])
def test_a_missing_member_of_a_pair(out, lost):
    rewrite(out, "train/00000.tar", lambda members: [m for at, m in enumerate(members) if at != 2 + lost])
    assert "expected ['flac', 'json']" in faults(out)["member pairs"]


def test_a_missing_pair(out):
    rewrite(out, "train/00000.tar", lambda members: members[2:])
    found = faults(out)
    samples = json.loads(out.read("manifest.json"))["files"]["train/00000.tar"]["samples"]
    told = f"train/00000.tar holds {samples - 1} samples, the manifest says {samples}"
    assert told in found["samples per shard"]
    assert "stands where the index has" in found["member pairs"]


def test_a_wrong_count(out):
    sizes = json.loads(out.read("train/sizes.json"))
    out.replace("train/sizes.json", json.dumps({**sizes, "00000.tar": 5}).encode())
    assert "sizes.json" in faults(out)
    assert "train/sizes.json" in faults(out)["index and small files"]
    manifest = json.loads(out.read("manifest.json"))
    manifest["counts"]["train"]["samples"] += 1
    out.replace("manifest.json", json.dumps(manifest).encode())
    assert "train: the manifest states" in faults(out)["counts"]


@pytest.mark.parametrize("keep", [0, 3, 511, 513, 30_000])
def test_a_truncated_shard(out, keep):
    out.replace("train/00000.tar", out.read("train/00000.tar")[:keep])
    assert "train/00000.tar" in faults(out)["shard checksums"]


def test_a_strange_shard_is_told(out):
    out.replace("train/extra.tar", out.read("train/00000.tar"))
    assert faults(out)["no other shards"] == "train/extra.tar is not in the manifest"


def test_two_shards_exchanged(out):
    one, other = out.read("train/00000.tar"), out.read("train/00001.tar")
    out.replace("train/00000.tar", other)
    out.replace("train/00001.tar", one)
    assert {"shard checksums", "member pairs"} <= set(faults(out))


def test_audio_that_is_not_what_the_index_states(out):
    """A tool that replaced a clip and all its checksums: only decoding can tell."""
    import pyarrow.parquet as pq
    import soundfile

    index = pq.read_table(out.local("index.parquet"))
    rows = index.to_pylist()
    at = next(at for at, row in enumerate(rows) if row["shard"] == "train/00000.tar")
    wave, rate = soundfile.read(io.BytesIO(out.read_range(rows[at]["shard"], rows[at]["offset"], rows[at]["size"])))
    shorter = io.BytesIO()
    soundfile.write(shorter, wave[:-1], rate, format="FLAC", subtype="PCM_16")
    rewrite(out, "train/00000.tar", lambda members: [(members[0][0], shorter.getvalue()), *members[1:]])
    rows[at] |= {"sha256": hashlib.sha256(shorter.getvalue()).hexdigest(), "size": len(shorter.getvalue())}
    pq.write_table(type(index).from_pylist(rows, schema=index.schema), out.local("index.parquet"))
    agree(out, "index.parquet")
    assert "audio checksums" not in faults(out)
    expected = f"{rows[at]['key']} has {len(wave) - 1} samples at 48000 Hz, stated {len(wave)}"
    assert expected in faults(out, decode=True)["audio decodes to what is stated"]


def test_a_record_that_is_no_json(out):
    rewrite(
        out,
        "train/00000.tar",
        lambda members: [(m, b"{" if m.name.endswith(".json") else data) for m, data in members],
    )
    assert ".json is no JSON" in faults(out)["records"]


def test_a_damaged_index(out):
    out.replace("index.parquet", b"PAR1 but not really")
    assert {"index", "index and small files"} <= set(faults(out))
    out.delete("index.parquet")
    assert faults(out)["files present"] == "index.parquet is missing"


@pytest.mark.parametrize("content", [None, b"", b"[]", b'{"files": 3, "counts": {}}', b"\xff\xfe"])
def test_no_manifest_or_a_broken_one(out, content):
    out.delete("manifest.json")
    if content is not None:
        out.replace("manifest.json", content)
    assert list(faults(out)) == ["manifest"]


def test_an_unfinished_export_is_called_so(out):
    out.delete("manifest.json")
    out.replace(".unfinished/request.json", b"{}")
    assert "run it again" in faults(out)["manifest"]
