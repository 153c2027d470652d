import numpy as np
import pyarrow as pa
import pytest

from corpus.dedup import Rules
from corpus.dedup_clips import CLIPS
from corpus.fingerprints import pack
from pipeline import dedup_job
from pipeline.dedup_job import Copies, in_blocks
from pipeline.spread import Here


def made(clips=400, copies=40, seed=0):
    """Random fingerprints of 200 words; the last are the first, 3 frames later, with a tenth of their bits turned."""
    rng = np.random.default_rng(seed)
    rows = []
    for clip in range(clips):
        words = rng.integers(0, 1 << 32, 200, np.uint32)
        keys = np.sort(rng.integers(0, 3000, 30, np.uint32) * np.uint32(1_400_000))
        places = rng.integers(10, 190, 30).astype(np.uint16)
        if clip >= clips - copies:
            words, keys, places = rows[clip - clips + copies]["made"]
            turned = np.packbits(rng.random((200, 32)) < 0.1, axis=1).view("<u4").ravel()
            words, places = np.concatenate([words[3:], words[:3]]) ^ turned, places - np.uint16(3)
        rows.append({"made": (words, keys, places), "fingerprint": pack(words, keys, places)})
    given = {"duration_ms": 10_000, "clipping_ratio": 0.0, "bandwidth_hz": 20_000, "sample_rate_hz": 48_000}
    return pa.Table.from_pylist(
        [
            {"clip_id": f"c{clip:05d}", "hash": f"h{clip}", "fingerprint": row["fingerprint"], **given}
            for clip, row in enumerate(rows)
        ],
        schema=CLIPS,
    )


def found(clips, block_rows):
    copies = Copies(Here(), Rules())
    for block in in_blocks([clips.slice(at, 50) for at in range(0, clips.num_rows, 50)], block_rows):
        copies.add(block)
    return pa.table(copies.find())


def test_every_planted_copy_is_grouped_with_its_original_and_nothing_else():
    columns = found(made(), 1000)
    dropped = [at for at, keep in enumerate(columns.column("dup_keep").to_pylist()) if not keep]
    assert dropped == list(range(360, 400))
    groups = columns.column("dup_group").to_pylist()
    assert [groups[at] for at in dropped] == [f"c{at - 360:05d}" for at in dropped]
    assert groups[:40] == [f"c{at:05d}" for at in range(40)]
    assert set(groups[40:360]) == {None}
    assert set(columns.column("dup_kind").to_pylist()) == {None, "near"}


@pytest.mark.parametrize(("block_rows", "partition_clips"), [(50, 1000), (150, 37), (1000, 10)])
def test_blocks_and_partitions_do_not_matter(monkeypatch, block_rows, partition_clips):
    clips = made(seed=1)
    expected = found(clips, 1000)
    monkeypatch.setattr(dedup_job, "PARTITION_CLIPS", partition_clips)
    assert found(clips, block_rows).equals(expected)


def test_a_corpus_without_clips_or_fingerprints_has_no_copies():
    assert Copies(Here(), Rules()).find()["dup_keep"].to_pylist() == []
    bare = made(clips=6, copies=2).set_column(6, "fingerprint", pa.nulls(6, pa.binary()))
    assert found(bare, 100).column("dup_keep").to_pylist() == [True] * 6


def test_equal_samples_are_copies_without_any_fingerprint():
    bare = made(clips=4, copies=0).set_column(6, "fingerprint", pa.nulls(4, pa.binary()))
    same = bare.set_column(5, "hash", pa.array(["x", "y", "x", None]))
    columns = found(same, 100)
    assert columns.column("dup_keep").to_pylist() == [True, True, False, True]
    assert columns.column("dup_kind").to_pylist() == [None, None, "exact", None]
