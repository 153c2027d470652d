"""The verb export, whole: what trainers' readers see, killed for real, resumed, and the same bytes every time."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from corpus.shardplan import ExportError
from corpus.store import Store
from corpus.verify_shards import verify_shards
from corpus.view_query import ViewError
from pipeline.export import ExportProgress, export, recode
from pipeline.select import select


@pytest.fixture(scope="module")
def corpus(small_corpus, tmp_path_factory):
    """Six sources, one of them with a join, and the views `all` and `joins`."""
    made = small_corpus(clip_ms=200)
    store = made.make(tmp_path_factory.mktemp("corpus") / "run")
    select(store.root, "all")
    select(store.root, "joins", where="contains(caption, 'one long rain')")
    return made, store


def exported(corpus, out, view="all", **options):
    return export(corpus[1].root, view, str(out), workers=0, **options)


def digests(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


def read_with_webdataset(folder, split="train"):
    import webdataset as wds

    shards = sorted(str(path) for path in Path(folder, split).glob("*.tar"))
    return list(wds.WebDataset(shards, shardshuffle=False, empty_check=False))


def test_webdataset_reads_every_clip_once(corpus, tmp_path):
    made, _ = corpus
    result = exported(corpus, tmp_path / "out", shard_clips=5, split={"train": 2, "test": 1})
    samples = [sample for split in ("train", "test") for sample in read_with_webdataset(tmp_path / "out", split)]
    assert len(samples) == result.samples == result.clips
    assert len({sample["__key__"] for sample in samples}) == len(samples)
    assert verify_shards(str(tmp_path / "out"), decode=True).ok
    for sample in samples:
        record = json.loads(sample["json"])
        wave, rate = soundfile.read(io.BytesIO(sample["flac"]), dtype="int16")
        assert rate == record["sample_rate_hz"] == 48_000
        assert wave.ndim == 1
        assert record["duration_s"] == len(wave) / rate
        assert sample["__key__"] == record["clip_id"]
        assert "." not in sample["__key__"]
        if record["text"] != "one long rain":
            assert (wave == made.waves[record["clip_id"]]).all()
            n = int(record["source_id"][4:7])
            assert record["original_data"]["title"] == made.titles.replace("{n}", str(n))


def test_laion_clap_finds_its_sizes(corpus, tmp_path):
    exported(corpus, tmp_path / "out", shard_clips=5, split={"train": 2, "test": 1})
    for split in ("train", "test"):
        sizes = json.loads((tmp_path / "out" / split / "sizes.json").read_text())
        assert sorted(sizes) == [f"{number:05d}.tar" for number in range(len(sizes))]
        assert max(sizes.values()) - min(sizes.values()) <= 1
        assert sum(sizes.values()) == len(read_with_webdataset(tmp_path / "out", split))


def test_a_join_is_its_members_samples_in_order(corpus, tmp_path):
    made, _ = corpus
    exported(corpus, tmp_path / "out", "joins")
    (sample,) = read_with_webdataset(tmp_path / "out")
    record = json.loads(sample["json"])
    wave, _ = soundfile.read(io.BytesIO(sample["flac"]), dtype="int16")
    whole = np.concatenate([made.waves[made.clip_id(1, i)] for i in (1, 2, 3)])
    assert (wave == whole).all()
    assert (record["start_s"], record["end_s"], record["duration_s"]) == (0.2, 0.8, 0.6)


@pytest.mark.parametrize("max_clip_s", [0.25, 0.35, 0.59])
def test_windows_of_a_join_are_all_of_it_once(corpus, tmp_path, max_clip_s):
    made, _ = corpus
    result = exported(corpus, tmp_path / "out", "joins", max_clip_s=max_clip_s)
    samples = sorted(read_with_webdataset(tmp_path / "out"), key=lambda sample: sample["__key__"])
    assert result.clips == 1
    assert result.samples == len(samples) == int(np.ceil(0.6 / max_clip_s))
    waves = [soundfile.read(io.BytesIO(sample["flac"]), dtype="int16")[0] for sample in samples]
    assert (np.concatenate(waves) == np.concatenate([made.waves[made.clip_id(1, i)] for i in (1, 2, 3)])).all()
    starts = [json.loads(sample["json"])["start_s"] for sample in samples]
    assert starts == pytest.approx([0.2 + 0.6 * at / len(samples) for at in range(len(samples))], abs=0.001)
    assert [sample["__key__"] for sample in samples] == [f"{made.clip_id(1, 1)}-w{at}" for at in range(len(samples))]


@pytest.mark.parametrize(("codec", "rate"), [("flac", 16_000), ("wav", None), ("opus", None), ("mp3", 44_100)])
def test_other_codecs_and_rates(corpus, tmp_path, codec, rate):
    exported(corpus, tmp_path / "out", shard_clips=20, codec=codec, sample_rate_hz=rate)
    report = verify_shards(str(tmp_path / "out"), decode=True)
    assert report.ok, report.lines()
    for sample in read_with_webdataset(tmp_path / "out"):
        record = json.loads(sample["json"])
        assert record["sample_rate_hz"] == (rate or 48_000)
        assert soundfile.info(io.BytesIO(sample[codec])).samplerate == (rate or 48_000)
        assert record["duration_s"] in (0.12, 0.2, 0.6)


def test_the_same_export_twice_is_the_same_bytes(corpus, tmp_path):
    options = {"shard_clips": 7, "split": {"train": 2, "valid": 1}, "seed": 3}
    exported(corpus, tmp_path / "one", **options)
    exported(corpus, tmp_path / "two", **options)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    exported(corpus, tmp_path / "three", **{**options, "seed": 4})
    assert digests(tmp_path / "one") != digests(tmp_path / "three")
    sources = [
        {(row["source_id"], row["split"]) for row in pq.read_table(tmp_path / name / "index.parquet").to_pylist()}
        for name in ("one", "three")
    ]
    assert sources[0] == sources[1]  # a seed shuffles, it moves no source to another split


KILLED = """
import os, signal, sys
import webdataset.writer
import audio.codec, audio.resample
from corpus import shards
from corpus.store import Store
from pipeline.export import export

run, view, out = sys.argv[1:4]

def kill_at(module, name, count):
    original, left = getattr(module, name), [count]
    def wrapped(*args, **kwargs):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)
    setattr(module, name, wrapped)

points = [
    (shards, "read_audios", 1), (shards, "read_audios", 4), (shards, "write_whole", 2), (shards, "write_whole", 3),
    (os, "fsync", 1), (os, "fsync", 4), (shards, "read_audios", 2), (shards, "finish", 1), (shards, "data_card", 1),
    (Store, "replace", 2), (Store, "put_if_absent", 1), (Store, "delete", 2),
]
for module, name, count in points:
    child = os.fork()
    if child == 0:
        shards._CHUNK = 2
        kill_at(module, name, count)
        export(run, view, out, workers=0, shard_clips=6, split={"train": 2, "test": 1}, codec=sys.argv[4])
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    print(name, count, "killed" if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL else status)
"""


@pytest.mark.parametrize("codec", ["flac", "opus"])
def test_killed_in_mid_export_again_and_again_it_ends_byte_identical(corpus, tmp_path, codec):
    _, store = corpus
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    words = [sys.executable, str(script), store.root, "all", str(tmp_path / "killed"), codec]
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=120, check=True, cwd=root, env={"PYTHONPATH": root}
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 12
    assert all(line.endswith(" killed") for line in lines), done.stdout
    options = {"shard_clips": 6, "split": {"train": 2, "test": 1}, "codec": codec}
    exported(corpus, tmp_path / "killed", **options)
    exported(corpus, tmp_path / "whole", **options)
    assert digests(tmp_path / "killed") == digests(tmp_path / "whole")
    assert verify_shards(str(tmp_path / "killed"), decode=True).ok
    assert sorted(p.name for p in tmp_path.iterdir()) == ["killed", "killed.py", "whole"]


def test_shards_that_are_in_place_are_not_written_again(corpus, tmp_path):
    seen: list[ExportProgress] = []

    class StopHereError(Exception):
        pass

    def stop_after_two(progress):
        if progress.shards_done == 2:
            raise StopHereError

    with pytest.raises(StopHereError):
        exported(corpus, tmp_path / "out", shard_clips=5, on_progress=stop_after_two)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/train").glob("*.tar")}
    assert len(before) == 2
    exported(corpus, tmp_path / "out", shard_clips=5, on_progress=seen.append)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert seen[0].shards_done == 2
    assert seen[0].samples_done > 0
    assert (seen[-1].shards_done, seen[-1].samples_done) == (seen[-1].shards, seen[-1].samples)


def test_a_complete_export_is_a_no_op_and_another_is_refused(corpus, tmp_path):
    first = exported(corpus, tmp_path / "out", shard_clips=9)
    before = digests(tmp_path / "out")
    again = exported(corpus, tmp_path / "out", shard_clips=9)
    assert again.already_there
    assert not first.already_there
    assert (again.samples, again.shards, again.bytes) == (first.samples, first.shards, first.bytes)
    with pytest.raises(ExportError) as caught:
        exported(corpus, tmp_path / "out", shard_clips=8, codec="opus")
    assert "shard_clips: there 9, asked 8" in str(caught.value)
    assert 'codec: there "flac", asked "opus"' in str(caught.value)
    with pytest.raises(ExportError, match=r"view\.sha256"):
        exported(corpus, tmp_path / "out", "joins", shard_clips=9)
    assert digests(tmp_path / "out") == before


def test_an_empty_split_is_said(corpus, tmp_path):
    result = exported(corpus, tmp_path / "out", split={"train": 1, "valid": 1e-9})
    assert "split valid is empty" in result.notes[0]
    assert result.counts["valid"]["samples"] == 0
    assert not (tmp_path / "out/valid").exists()
    assert verify_shards(str(tmp_path / "out")).ok


def test_clips_without_captions_are_said(small_corpus, tmp_path):
    store = small_corpus(clip_ms=100, models=False).make(tmp_path / "run")
    select(store.root, "audio")
    result = export(store.root, "audio", str(tmp_path / "out"), workers=0)
    assert f"{result.clips} clips have no caption" in result.notes[0]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"view": "nothing"}, ViewError, "no view 'nothing'"),
        ({"format": "zip"}, ExportError, "no format 'zip'; there are webdataset"),
        ({"codec": "aac"}, ExportError, "no codec 'aac'; there are flac"),
        ({"codec": "opus", "sample_rate_hz": 44_100}, ExportError, "opus"),
        ({"sample_rate_hz": 0}, ExportError, "from 1000"),
        ({"split": {"a b": 1}}, ExportError, "letters a to z"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(corpus, tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        exported(corpus, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_outside_the_folder(corpus, tmp_path, monkeypatch):
    _, store = corpus
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("TMPDIR", str(elsewhere))
    before = digests(store.root)
    exported(corpus, tmp_path / "out", codec="wav", shard_clips=10)
    assert digests(store.root) == before
    assert list(elsewhere.iterdir()) == []


def test_into_an_object_store(corpus, tmp_path):
    import fsspec

    exported(corpus, "memory://exports/all", shard_clips=9)
    exported(corpus, tmp_path / "disk", shard_clips=9)
    remote = Store("memory://exports/all")
    assert verify_shards(remote.root, decode=True).ok
    assert {p: hashlib.sha256(remote.read(p)).hexdigest() for p in remote.list()} == digests(tmp_path / "disk")
    fsspec.filesystem("memory").rm("/exports", recursive=True)


def test_recode_says_what_it_cannot_put_together():
    def flac(rate, count=100):
        file = io.BytesIO()
        soundfile.write(file, np.zeros(count, dtype=np.int16), rate, format="FLAC")
        return file.getvalue()

    with pytest.raises(ValueError, match="sample rates"):
        recode([flac(8000), flac(16_000)], first=0, last=200, sample_rate_hz=None, codec="flac")
    with pytest.raises(ValueError, match="has 100 samples, 101 are stated"):
        recode([flac(8000)], first=0, last=101, sample_rate_hz=None, codec="flac")
    with pytest.raises(ValueError, match="cannot be decoded"):
        recode([b"fLaC but no more"], first=0, last=1, sample_rate_hz=None, codec="flac")


@pytest.mark.slow
def test_on_ray_the_bytes_are_the_same(corpus, tmp_path):
    from pipeline.engine import stop_ray

    _, store = corpus
    try:
        result = export(store.root, "all", str(tmp_path / "ray"), shard_clips=9, workers=2)
    finally:
        stop_ray()
    exported(corpus, tmp_path / "here", shard_clips=9)
    assert result.shards > 1
    assert digests(tmp_path / "ray") == digests(tmp_path / "here")
