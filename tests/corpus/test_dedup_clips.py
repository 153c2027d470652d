import numpy as np
import pyarrow as pa

from corpus.dedup_clips import CLIPS, ok_clips, scan_clips
from corpus.fingerprints import Prints, pack


def print_of(seed, frames=54):
    words = np.random.default_rng(seed).integers(0, 1 << 32, frames, np.uint32)
    return pack(words, np.array([seed], np.uint32), np.array([0], np.uint16))


def rows(*given):
    table = pa.Table.from_pylist(
        [
            {
                "clip_id": name,
                "unit_id": "00000-00000",
                "outcome": outcome,
                "num_samples": 144_000,
                "sample_rate_hz": 48_000,
                "sha256": f"sha-{name}",
                "pcm_sha256": None if name == "old" else f"pcm-{name}",
                "merged_into": into,
                "fingerprint": print_of(at),
            }
            for at, (name, outcome, into) in enumerate(given)
        ]
    )
    return table


def test_only_ok_clips_are_looked_at_by_the_hash_of_their_samples():
    found = ok_clips(rows(("a", "ok", None), ("b", "filtered", None), ("old", "ok", None)))
    assert found.column_names == [*CLIPS.names, "unit_id"]
    assert found.column("clip_id").to_pylist() == ["a", "old"]
    assert found.column("hash").to_pylist() == ["pcm-a@48000", "sha-old@48000"]
    assert found.column("duration_ms").to_pylist() == [3000, 3000]
    assert found.column("bandwidth_hz").null_count == 2


def test_a_join_is_one_clip_with_the_sound_of_its_members():
    table = rows(("a", "ok", None), ("b", "merged", "a"), ("c", "merged", "a"), ("d", "ok", None))
    found = ok_clips(table)
    assert found.column("clip_id").to_pylist() == ["a", "d"]
    assert found.column("duration_ms").to_pylist() == [9000, 3000]
    assert found.column("hash")[0].as_py().startswith("join ")
    prints = Prints.of(found.column("fingerprint").combine_chunks())
    members = Prints.of(table.column("fingerprint").combine_chunks())
    assert prints.frames.tolist() == [(9000 - 384) // 48, 54]
    assert (prints.words_of(0)[62 : 62 + 54] == members.words_of(1)).all()  # 3 s are 62.5 hops
    assert prints.places[prints.owners == 0].tolist() == [0, 62, 125]


def test_every_unit_of_a_corpus_is_named_with_or_without_ok_clips(tmp_path, small_corpus):
    made = small_corpus(clip_ms=100, sources=4, clips=6)
    store = made.make(tmp_path / "run")
    named, clips = [], 0
    for table, unit_ids in scan_clips(store, ["fetch", "models"]):
        named += unit_ids
        clips += ok_clips(table).num_rows
    assert named == ["00000-00000", "00000-00001"]
    assert 0 < clips < 24
