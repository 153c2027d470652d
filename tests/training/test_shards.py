import json
import os
from itertools import islice

import pytest

from training.errors import TrainError
from training.shards import find_shards, one_pass, stream


def keys(samples):
    return [sample["__key__"] for sample in samples]


ALL = [f"{number:04d}" for number in range(24)]


def test_a_folder_of_tars_is_counted_by_its_headers(shards):
    found = find_shards([str(shards)], "train")
    assert (len(found.shards), found.clips) == (3, 24)
    assert find_shards([str(shards / "00001.tar")], "train").clips == 8
    assert keys(one_pass(found)) == ALL


def test_an_export_gives_the_split_that_is_asked_for(tmp_path, shards):
    (tmp_path / "train").mkdir()
    (tmp_path / "train/00000.tar").write_bytes((shards / "00000.tar").read_bytes())
    files = {"train/00000.tar": {"samples": 8}, "test/00000.tar": {"samples": 3}, "index.parquet": {"bytes": 1}}
    (tmp_path / "manifest.json").write_text(json.dumps({"files": files}))
    found = find_shards([str(tmp_path)], "train")
    assert [shard.name for shard in found.shards] == ["train/00000.tar"]
    assert found.clips == 8
    with pytest.raises(TrainError, match="valid"):
        find_shards([str(tmp_path)], "valid")


@pytest.mark.parametrize("readers", [1, 2, 3, 5])
def test_every_clip_is_read_once_in_a_pass_whoever_reads(shards, readers):
    found = find_shards([str(shards)], "train")
    read = []
    for reader in range(readers):
        # With five readers each takes every fifth clip of all shards, with three each its own shard.
        share = len(range(reader, 24, readers)) if readers > 3 else {1: [24], 2: [16, 8], 3: [8, 8, 8]}[readers][reader]
        read += keys(islice(stream(found, seed=1, reader=reader, readers=readers, shuffle_clips=6), share))
    assert sorted(read) == ALL


def test_passes_differ_and_a_seed_repeats_them(shards):
    found = find_shards([str(shards)], "train")
    both = keys(islice(stream(found, seed=1, reader=0, readers=1, shuffle_clips=6), 48))
    assert both == keys(islice(stream(found, seed=1, reader=0, readers=1, shuffle_clips=6), 48))
    assert sorted(both[:24]) == sorted(both[24:]) == ALL
    assert both[:24] != both[24:]
    assert both[:24] != keys(islice(stream(found, seed=2, reader=0, readers=1, shuffle_clips=6), 24))


def test_more_readers_than_clips_are_refused(shards):
    with pytest.raises(TrainError, match="loader_workers"):
        next(stream(find_shards([str(shards)], "train"), seed=1, reader=0, readers=25, shuffle_clips=6))


def test_what_is_no_shard_is_told_by_name(tmp_path):
    with pytest.raises(TrainError, match="nothing at"):
        find_shards([str(tmp_path / "none")], "train")
    with pytest.raises(TrainError, match="there is no"):
        find_shards([str(tmp_path / "none.tar")], "train")
    (tmp_path / "bad.tar").write_bytes(b"no tar" * 1000)
    with pytest.raises(TrainError, match="no tar file"):
        find_shards([str(tmp_path / "bad.tar")], "train")


def test_a_place_is_never_a_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TrainError):
        find_shards(["pipe:touch ran.tar"], "train")
    assert os.listdir(tmp_path) == []


def test_a_truncated_shard_stops_the_training(tmp_path, shards):
    whole = (shards / "00000.tar").read_bytes()
    (tmp_path / "00000.tar").write_bytes(whole[: len(whole) // 2 + 100])
    (tmp_path / "sizes.json").write_text('{"00000.tar": 8}')
    with pytest.raises(TrainError, match="cannot be read"):
        list(one_pass(find_shards([str(tmp_path)], "train")))
