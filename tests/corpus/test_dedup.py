import numpy as np
import pyarrow as pa

from corpus.dedup import (
    BUCKET,
    Edges,
    Keys,
    Rules,
    candidate_pairs,
    columns_of,
    exact_keepers,
    keep_order,
    keepers,
)

SCHEMA = pa.schema(
    [
        ("clip_id", pa.string()),
        ("duration_ms", pa.int64()),
        ("clipping_ratio", pa.float32()),
        ("bandwidth_hz", pa.int32()),
        ("sample_rate_hz", pa.int32()),
    ]
)


def clips(*rows):
    return pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in rows], schema=SCHEMA)


def edges(*pairs):
    better, worse = (np.array([pair[at] for pair in pairs], np.int64) for at in range(2))
    return Edges(better, worse, np.full(len(pairs), 0.9))


def keys_of(*entries):
    """(key, word, clip, place)."""
    columns = np.array(entries, np.int64).reshape(-1, 4).T
    return Keys(columns[0].astype(np.uint32), columns[1].astype(np.uint32), columns[2], columns[3])


def test_the_longer_the_less_clipped_the_wider_the_faster_then_the_first_by_name():
    table = clips(
        ("b", 5000, 0.0, 16_000, 48_000),
        ("a", 5000, 0.0, 16_000, 48_000),  # by name before b
        ("e", 5000, 0.0, 16_000, 44_100),
        ("f", 5000, 0.0, 8_000, 48_000),
        ("g", 5000, 0.2, 20_000, 48_000),
        ("z", 9000, 0.9, 4_000, 8_000),  # longer wins over all
        ("c", 5020, 0.0, 16_000, 48_000),  # 20 ms are no length
        ("n", None, None, None, None),
    )
    order = np.argsort(keep_order(table))
    assert [table.column("clip_id")[int(at)].as_py() for at in order] == ["z", "a", "b", "c", "e", "f", "g", "n"]


def test_of_equal_samples_the_best_one_is_named_and_no_hash_is_no_copy():
    hashes = pa.chunked_array([["x", None, "y"], ["x", "x", None]])
    assert exact_keepers(hashes, np.array([5, 0, 1, 2, 4, 3])).tolist() == [3, 1, 2, 3, 3, 5]


def test_no_chain_every_dropped_clip_agrees_with_the_kept_one():
    ranks = np.arange(4)
    verdict = keepers(edges((0, 1), (1, 2), (2, 3)), ranks, np.arange(4))
    assert verdict.keeper.tolist() == [0, 0, 2, 2]  # 2 is no copy of 0, so it stays, and 3 is its copy


def test_the_verdict_does_not_depend_on_the_order_of_edges():
    rng = np.random.default_rng(3)
    ranks = rng.permutation(60)
    pairs = [(a, b) for a in range(60) for b in range(60) if ranks[a] < ranks[b] and rng.random() < 0.05]
    expected = keepers(edges(*pairs), ranks, np.arange(60)).keeper
    for _ in range(5):
        rng.shuffle(pairs)
        assert (keepers(edges(*pairs), ranks, np.arange(60)).keeper == expected).all()
    kept = expected == np.arange(60)
    assert all((expected[clip], clip) in set(map(tuple, pairs)) for clip in np.flatnonzero(~kept))
    assert not any(kept[a] and kept[b] for a, b in pairs)


def test_columns_name_the_kept_copy_of_exact_and_near_ones():
    exact = np.array([0, 0, 2, 3, 3])
    verdict = keepers(edges((0, 3)), np.arange(5), exact)
    columns = columns_of(verdict, exact, pa.array(["a", "b", "c", "d", "e"]))
    assert columns["dup_keep"].to_pylist() == [True, False, True, False, False]
    assert columns["dup_group"].to_pylist() == ["a", "a", None, "a", "a"]
    assert columns["dup_kind"].to_pylist() == [None, "exact", None, "near", "near"]
    assert [value and round(value, 2) for value in columns["dup_similarity"].to_pylist()] == [None, 1, None, 0.9, 0.9]


def test_clips_that_share_a_key_and_its_word_are_paired_once_per_lag():
    found = candidate_pairs(
        keys_of((8, 1, 0, 10), (8, 1, 1, 4), (9, 0, 0, 12), (9, 0, 1, 6), (8, 0xFFFFFFFF, 2, 0), (5, 1, 2, 0)),
        np.array([1, 0, 2]),
    )
    assert found.better.tolist() == [1]
    assert found.worse.tolist() == [0]
    assert found.lag.tolist() == [-6]


def test_a_clip_is_never_paired_with_itself():
    assert len(candidate_pairs(keys_of((8, 1, 0, 10), (8, 1, 0, 30)), np.array([0])).better) == 0
    assert len(candidate_pairs(keys_of(), np.array([0])).better) == 0


def test_a_key_that_everybody_has_costs_no_square_and_still_finds_the_copies():
    count = 5000
    rng = np.random.default_rng(0)
    words = rng.integers(0, 1 << 32, count)
    words[4000] = words[17]
    entries = [(8, word, clip, 0) for clip, word in enumerate(words.tolist())]
    entries += [(6, 12345, clip, 0) for clip in range(3000)]  # 3,000 copies of one clip
    found = candidate_pairs(keys_of(*entries), np.arange(count))
    assert len(found.better) < (count + 3000) * BUCKET
    assert (17, 4000) in set(zip(found.better.tolist(), found.worse.tolist(), strict=True))
    assert set(range(1, 3000)) <= set(found.worse[found.better == 0].tolist())


def test_short_overlaps_must_agree_better():
    allowed = Rules().allowed(np.array([5, 12, 54, 208, 1000]))
    assert allowed[0] < 0
    assert 0.15 < allowed[1] < 0.25 < allowed[2] < 0.3 < allowed[3]
    assert allowed[3] == allowed[4] == 0.33
