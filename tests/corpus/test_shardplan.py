"""Where clips go: by source, by seed, evenly, and the same on every machine."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest

from corpus.shardplan import (
    ExportError,
    ShardOptions,
    plan_shards,
    shuffle_order,
    split_of,
    split_shares,
    window_span,
)

THIRDS = {"train": 90, "valid": 5, "test": 5}


def clips(count=1000, per_source=7, size=40_000, samples=48_000, rate=48_000, **columns):
    table = {
        "clip_id": [f"s{at // per_source:05d}_{at}" for at in range(count)],
        "source_id": [f"s{at // per_source:05d}" for at in range(count)],
        "audio_bytes": np.full(count, size),
        "num_samples": np.full(count, samples),
        "sample_rate_hz": np.full(count, rate, dtype=np.int32),
    }
    return pa.table({**table, **columns})


def planned(table, **options):
    return plan_shards([table], ShardOptions(**options), 2000, lambda prefix, number: f"{prefix}{number:05d}.tar")


def test_every_clip_is_in_exactly_one_shard():
    plan = planned(clips(), shard_clips=64, split=THIRDS)
    assert sorted(plan.row.tolist()) == list(range(1000))
    assert sum(shard.samples for shard in plan.shards) == plan.starts[-1] == 1000
    assert [shard.index for shard in plan.shards] == list(range(len(plan.shards)))
    for split in THIRDS:
        mine = [shard for shard in plan.shards if shard.split == split]
        assert [shard.name for shard in mine] == [f"{number:05d}.tar" for number in range(len(mine))]


@pytest.mark.parametrize("count", [1, 63, 64, 65, 129, 1000])
def test_shards_by_clips_differ_by_one_at_most(count):
    sizes = [shard.samples for shard in planned(clips(count), shard_clips=64).shards]
    assert max(sizes) - min(sizes) <= 1
    assert len(sizes) == -(-count // 64)


@pytest.mark.parametrize("limit", [50_000, 100_000, 1_000_000, 10**9])
def test_shards_by_bytes_are_of_even_size_with_no_tiny_last_one(limit):
    sizes = np.random.Generator(np.random.PCG64(1)).integers(20_000, 60_000, 1000)
    plan = planned(clips(audio_bytes=sizes), shard_bytes=limit)
    totals = [
        int((sizes[plan.row[start:stop]] + 2000).sum())
        for start, stop in zip(plan.starts[:-1], plan.starts[1:], strict=True)
    ]
    assert len(totals) == min(-(-sum(totals) // limit), 1000)
    if len(totals) < 300:
        assert max(totals) - min(totals) <= 2 * 62_000


def test_a_clip_larger_than_a_shard_gets_its_own():
    sizes = [s.samples for s in planned(clips(5), shard_bytes=10).shards]
    assert sizes == [1, 1, 1, 1, 1]
    huge = pa.array([10**9, 1, 1, 1, 1])
    assert min(s.samples for s in planned(clips(5, audio_bytes=huge), shard_bytes=300_000_000).shards) == 1


def test_a_source_is_in_one_split_only_and_keeps_it():
    small, large = planned(clips(700), split=THIRDS, seed=1), planned(clips(7000), split=THIRDS, seed=2)
    where: dict[str, set[str]] = {}
    for plan, table in ((small, clips(700)), (large, clips(7000))):
        source = np.array(table.column("source_id").to_pylist())
        for shard in plan.shards:
            rows = plan.row[plan.starts[shard.index] : plan.starts[shard.index + 1]]
            for name in source[rows]:
                where.setdefault(str(name), set()).add(shard.split)
    assert {len(splits) for splits in where.values()} == {1}
    assert large.sources["train"] / 1000 == pytest.approx(0.9, abs=0.03)
    assert sum(large.sources.values()) == 1000


def test_the_splits_of_known_sources_never_change():
    # Written down once: a change here would move clips between training and test in everybody's corpus.
    names = ["dQw4w9WgXcQ", "x0123456789abcdef0123", "a", "b", "c", "d", "e", "f"]
    shares = split_shares({"train": 50, "valid": 25, "test": 25})
    assert split_of(names, shares).tolist() == SPLITS
    assert shuffle_order(8, 0, "train").tolist() == ORDER


SPLITS = [1, 1, 0, 0, 2, 2, 1, 0]
ORDER = [2, 5, 4, 0, 1, 3, 7, 6]


def test_the_seed_and_only_the_seed_shuffles():
    one, same, other = (planned(clips(), seed=seed).row.tolist() for seed in (0, 0, 1))
    assert one == same != other
    assert one != sorted(one)


def test_an_empty_split_is_known():
    plan = planned(clips(14), split={"train": 1, "valid": 1e-9})
    assert plan.empty_splits == ["valid"]
    assert plan.clips == {"train": 14, "valid": 0}


def test_long_clips_become_windows_of_equal_length():
    samples = pa.array([48_000 * 10, 48_000 * 12, 48_000 * 31, 100])
    plan = planned(clips(4, num_samples=samples), max_clip_s=10)
    windows = sorted(zip(plan.row.tolist(), plan.window.tolist(), plan.windows.tolist(), strict=True))
    assert windows == [(0, 0, 1), (1, 0, 2), (1, 1, 2), *((2, at, 4) for at in range(4)), (3, 0, 1)]
    spans = [window_span(48_000 * 31, at, 4) for at in range(4)]
    assert spans[0][0] == 0
    assert spans[-1][1] == 48_000 * 31
    assert {stop - start for start, stop in spans} == {372_000}
    assert all(one[1] == two[0] for one, two in pairwise(spans))


@pytest.mark.parametrize("waves", [1, 10, 10_000])
def test_rows_are_handed_out_in_shard_order_whatever_the_memory(waves, monkeypatch):
    table = clips(300)
    plan = planned(table, shard_clips=25)
    monkeypatch.setattr("corpus.shardplan.WAVE_ROWS", waves)

    class TableAsView:
        schema = table.schema

        def batches(self):
            yield from (table.slice(first, 70) for first in range(0, table.num_rows, 70))

        def rows(self, indices):
            assert (np.diff(indices) > 0).all()
            return table.take(pa.array(indices))

    handed = [row for _, rows in plan.handed_out(TableAsView(), plan.shards) for row in rows["clip_id"].to_pylist()]
    assert handed == table.column("clip_id").take(pa.array(plan.row)).to_pylist()


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        (clips(0), {}, "holds no clips"),
        (clips(3), {"shard_clips": 0}, "at least 1"),
        (clips(3), {"shard_bytes": 0}, "above 0"),
        (clips(3), {"max_clip_s": 0.0}, "above 0"),
        (clips(3), {"prefix": "a/b"}, "letters"),
        (clips(3), {"split": {"../up": 1}}, "letters a to z"),
        (clips(3), {"split": {"train": -1}}, "from 0 up"),
        (clips(3), {"split": {"train": float("nan")}}, "from 0 up"),
        (clips(3), {"split": {"train": 0}}, "sum to 0"),
        (clips(1, clip_id=["a.b"]), {}, "cannot be keys"),
        (clips(1, clip_id=["../../etc"]), {}, "cannot be keys"),
        (clips(1, clip_id=["a" * 81]), {}, "cannot be keys"),
        (clips(1, audio_bytes=pa.array([None], pa.int64())), {}, "no audio"),
    ],
)
def test_refuses_in_a_sentence(table, options, message):
    with pytest.raises(ExportError, match=message):
        planned(table, **options)
