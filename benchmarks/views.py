"""Views at full size: `select` over compacted rows, what an export asks of such a view, and compaction itself.

    python -m benchmarks.views make /tmp/big --rows 47000000      # two legs of made-up rows, written as compacted files
    python -m benchmarks.views select /tmp/big                    # AutoReCapXL, MQ, HQ: seconds, peak memory, bytes
    python -m benchmarks.views export /tmp/big --view MQ --waves 3   # the shards' plan, and rows handed out
    python -m benchmarks.views compact /tmp/small --units 4000    # real small units of 128 clips, two legs

Each measurement is made in a process of its own, so its peak memory is its own. The rows are as those of a run:
3 % lost while fetching, 5 % merged into the clip before them, 7 % ended by words, scores around 0.37; names, titles,
captions, hashes and paths of the usual lengths. The bar for `select` over 47 M rows: 10 s, 4 GB, two cores.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.synthetic import Bytes, write_plan
from corpus import compact, plan_store, units
from corpus.compacted import CLIPS_KEY, UNITS_KEY, path_of, stem
from corpus.narrow import Narrow
from corpus.schema import AUDIO, CAPTION, IDENTITY, OUTCOME, SCORE, SOURCE, fields
from corpus.shardplan import COLUMNS, ShardOptions, plan_shards
from corpus.store import Store
from corpus.streamed import write_whole
from corpus.views import open_view, select
from stages.base import with_columns

SCORER = "laion/clap-htsat-fused@0123456789ab"
UNIT_CLIPS, SOURCE_CLIPS = 128, 6
LEGS = ["fetch", "models"]

ROOT = pa.schema([*IDENTITY, *SOURCE, *OUTCOME, *AUDIO])
MODELS = pa.schema([*fields("clip_id", "unit_id", "row"), *OUTCOME, *CAPTION, *fields("clap_score", "clap_model")])

_WORDS = (
    "rain falls on leaves while a dog barks twice in the far distance and wind blows over grass "
    "water runs through pipes an engine idles birds sing people walk past on gravel a door closes"
).split()


# -- made-up rows


def make(root: str, rows: int) -> None:
    """Write `rows` rows of two legs below `root`, in groups of a million, and what a run folder needs besides."""
    store = Store(root)
    store.put_if_absent("run.json", json.dumps({"format_version": 1, "name": "big", "plan": {}}).encode())
    for leg, after in (("fetch", None), ("models", "fetch")):
        store.put_if_absent(f"corpus/legs/{leg}.json", json.dumps({"after": after, "stages": []}).encode())
    group_rows = compact.TARGET_ROWS // UNIT_CLIPS * UNIT_CLIPS
    started = time.perf_counter()
    for number, first in enumerate(range(0, rows, group_rows)):
        fetch, models = made_up(number, min(group_rows, rows - first))
        write_group(store, "fetch", number, fetch, root=True)
        write_group(store, "models", number, models, root=False)
        if number % 10 == 9:
            print(f"{first + group_rows:,} rows, {time.perf_counter() - started:.0f} s", flush=True)
    size = sum(store.size(path) for path in store.list("corpus/compacted"))
    print(f"{rows:,} rows in 2 legs, {size / 1e9:.1f} GB, {time.perf_counter() - started:.0f} s")


def made_up(number: int, rows: int) -> tuple[pa.Table, pa.Table]:
    """Group `number` of the two legs."""
    random = np.random.default_rng(number)
    at = np.arange(rows)
    source = at // SOURCE_CLIPS
    source_ids = _joined("", pa.array(np.char.mod("yt%09d", np.arange(source[-1] + 1) + number * 1_000_000)))
    start = at % SOURCE_CLIPS * 40_000 + random.integers(0, 9_000, rows)
    span = random.integers(1_000, 10_001, rows)
    unit = pa.array([f"{number:05d}-{n:05d}" for n in range(-(-rows // UNIT_CLIPS))]).take(pa.array(at // UNIT_CLIPS))
    own = source_ids.take(pa.array(source))
    clip_ids = pc.binary_join_element_wise(own, _text(start), _text(start + span), "_")
    lost = random.random(rows) < 0.03
    fate = random.random(rows)
    merged = ~lost & (fate < 0.05) & (at % SOURCE_CLIPS > 0) & (at % UNIT_CLIPS > 0)
    merged &= ~np.roll(merged, 1) & ~np.roll(lost, 1)
    head = np.roll(merged, -1)
    word = ~lost & ~merged & ~head & (fate > 0.93)
    live = ~lost
    fetch = {
        "clip_id": clip_ids,
        "source_id": own,
        "source_key": own,
        "unit_id": unit,
        "row": pa.array(at % UNIT_CLIPS, pa.int32()),
        "start_ms": pa.array(start),
        "end_ms": pa.array(start + span),
        "url": _joined("https://www.youtube.com/watch?v=", source_ids).take(pa.array(source)),
        "title": _sentences(random, source[-1] + 1, 7).take(pa.array(source)),
        "description": _sentences(random, source[-1] + 1, 25).take(pa.array(source)),
        "uploader": _sentences(random, 2_000, 2).take(pa.array(source % 2_000)),
        **_outcome(rows, lost, lost & False, "http_403", None),
        "tar": _given(_joined("corpus/audio/00000/", _joined("", unit, "-0123456789ab.tar")), live),
        "tar_member": _given(_joined("", clip_ids, ".flac"), live),
        "tar_offset": _given(pa.array(at % UNIT_CLIPS * 400_000 + 512), live),
        "tar_size": _given(pa.array((span * random.uniform(30, 60, rows)).astype(np.int64)), live),
        "codec": _given(_same("flac", rows), live),
        "sample_rate_hz": _given(pa.array(np.full(rows, 48_000, np.int32)), live),
        "num_samples": _given(pa.array(span * 48), live),
        "sha256": _given(_hex(random, rows), live),
        "pcm_sha256": _given(_hex(random, rows), live),
        **{name: _given(pa.array(random.random(rows, np.float32)), live) for name in _FLOATS},
    }
    scores = np.clip(random.normal(0.37, 0.15, rows), -1, 1).astype(np.float32)
    models = {
        "clip_id": clip_ids,
        "unit_id": unit,
        "row": fetch["row"],
        **_outcome(rows, lost, merged, "http_403", "joined", word),
        "caption": _given(_sentences(random, 100_000, 11).take(pa.array(random.integers(0, 100_000, rows))), live),
        "caption_model": _given(_same("autocap-full@ba9876543210", rows), live),
        "caption_logprob": _given(pa.array(random.random(rows, np.float32)), live),
        "merged_into": _given(pa.array(np.roll(at, 1)), merged, clip_ids),
        "joined_end_ms": _given(pa.array(np.roll(start + span, -1)), head),
        "clap_score": _given(pa.array(scores), live & ~merged & ~word),
        "clap_model": _given(_same(SCORER, rows), live & ~merged & ~word),
    }
    return _table(fetch, ROOT, rows), _table(models, MODELS, rows)


_FLOATS = ("peak_dbfs", "rms_dbfs", "silence_ratio", "speech_ratio", "clipping_ratio", "dc_offset")


def write_group(store: Store, leg: str, number: int, rows: pa.Table, *, root: bool) -> None:
    """As compaction does."""
    unit_ids = pc.unique(rows.column("unit_id")).to_pylist()
    name = stem(unit_ids[0], unit_ids[-1], rows.num_rows, unit_ids)
    narrow = Narrow(root=root)

    def write(file: Any) -> None:
        whole = narrow.beside(rows)
        with pq.ParquetWriter(file, whole.schema, compression="zstd", write_page_checksum=True) as writer:
            writer.write_table(whole, row_group_size=compact.ROW_GROUP_ROWS)
            ids = hashlib.sha256("\n".join(unit_ids).encode()).hexdigest()
            writer.add_key_value_metadata({UNITS_KEY: ids, CLIPS_KEY: ids})

    write_whole(store, path_of(leg, name, ""), write, named=lambda placed: path_of(leg, name, placed.sha256))


def _table(columns: dict[str, Any], schema: pa.Schema, rows: int) -> pa.Table:
    return pa.table([_one(columns.get(f.name), rows).cast(f.type) for f in schema], schema=schema)


def _one(column: Any, rows: int) -> Any:
    column = pa.nulls(rows) if column is None else column
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _outcome(
    rows: int, lost: Any, merged: Any, why: str, joined: str | None, word: Any | None = None
) -> dict[str, pa.Array]:
    word = lost & False if word is None else word
    code = pa.array(np.select([lost, merged, word], [1, 2, 3], 0))
    return {
        "outcome": pa.array(["ok", "failed", "merged", "filtered"]).take(code),
        "reason": pa.array([None, why, joined, "speech_word"]).take(code),
        "stage": pa.array([None, "fetch", "join", "keywords"]).take(code),
        "attempt": pa.array(np.zeros(rows, np.int16)),
    }


def _given(values: Any, where: Any, of: Any | None = None) -> Any:
    """`values` (or those of `of` at them) where they are given, else null."""
    values = values if of is None else of.take(values)
    return pc.if_else(pa.array(where), values, pa.scalar(None, values.type))


def _text(numbers: Any) -> pa.Array:
    return pc.cast(pa.array(numbers), pa.string())


def _joined(before: str, values: Any, after: str = "") -> Any:
    return pc.binary_join_element_wise(before, values, after, "")


def _same(text: str, rows: int) -> pa.Array:
    return pa.repeat(pa.scalar(text), rows)


def _sentences(random: Any, count: int, words: int) -> pa.Array:
    known = pa.array(_WORDS)
    parts = [known.take(pa.array(random.integers(0, len(_WORDS), count))) for _ in range(words)]
    return pc.binary_join_element_wise(*parts, " ")


def _hex(random: Any, rows: int) -> pa.Array:
    text = random.bytes(rows * 32).hex().encode()
    return pa.StringArray.from_buffers(rows, pa.py_buffer(np.arange(rows + 1, dtype=np.int32) * 64), pa.py_buffer(text))


# -- measuring


def measured(what: Callable[..., dict[str, Any]], *given: Any) -> None:
    """Run `what` in a new process; print what it says, its seconds and its peak memory."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        print(json.dumps(pool.apply(_measure, (what, *given))), flush=True)


def _measure(what: Callable[..., dict[str, Any]], *given: Any) -> dict[str, Any]:
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.perf_counter()
    said = what(*given)
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {**said, "seconds": round(seconds, 2), "cpu_s": round(cpu, 1), "peak_mb": after.ru_maxrss // 1024}


def one_select(root: str, preset: str) -> dict[str, Any]:
    view = select(Store(root), LEGS, preset, preset=preset)
    return {"preset": preset, "clips": view.clips, "view_bytes": view.summary["bytes"]}


def one_filter(root: str, where: str) -> dict[str, Any]:
    return {"where": where, "clips": select(Store(root), LEGS, "where", where=where).clips}


def one_plan(root: str, name: str) -> dict[str, Any]:
    view = open_view(Store(root), name)
    plan = plan_shards(view.batches(COLUMNS), ShardOptions(), 2048, lambda prefix, number: f"{number:05d}.tar")
    return {"plan of": name, "clips": len(plan.row), "shards": len(plan.shards)}


def some_waves(root: str, name: str, waves: int) -> dict[str, Any]:
    view = open_view(Store(root), name)
    plan = plan_shards(view.batches(COLUMNS), ShardOptions(), 2048, lambda prefix, number: f"{number:05d}.tar")
    started = time.perf_counter()
    rows = 0
    todo = plan.shards if not waves else plan.shards[: -(-waves * 500_000 * len(plan.shards) // len(plan.row))]
    first = None
    for _, table in plan.handed_out(view, todo):
        first = first or time.perf_counter() - started
        rows += table.num_rows
    return {"rows": rows, "first_shard_s": round(first or 0, 1), "hand_out_s": round(time.perf_counter() - started, 1)}


def make_units(root: str, count: int) -> None:
    store = Store(root)
    write_plan(store, count, UNIT_CLIPS)
    plan = plan_store.part_sha256(store, "00000")
    stage = Bytes(clip_bytes=16)
    wide = [f for f in [*AUDIO, *CAPTION, *SCORE] if f.name not in ("clap_audio_embedding",)]
    for unit_id in plan_store.unit_ids(store, "00000"):
        planned = plan_store.read_unit(store, unit_id)
        rows = with_columns(planned, {name: [None] * planned.num_rows for name in OUTCOME.names}, OUTCOME)
        units.commit_root(store, planned, stage.run(rows), units.UnitMeta("fetch", "r", plan))
        root_rows = units.read_root_unit(store, unit_id)
        adds = pa.schema([f for f in wide if f.name not in AUDIO.names])
        values: dict[str, list[Any]] = {name: [None] * planned.num_rows for name in adds.names}
        values |= {"caption": [f"a dog barks {n} times" for n in range(planned.num_rows)]}
        values |= {"clap_score": [n / 128 for n in range(planned.num_rows)], "clap_model": [SCORER] * planned.num_rows}
        units.commit_columns(
            store, "models", root_rows, with_columns(root_rows, values, adds), adds, units.UnitMeta("models", "r", plan)
        )


def one_compaction(root: str, leg: str) -> dict[str, Any]:
    store = Store(root)
    for path in store.list(f"corpus/compacted/{leg}"):
        store.delete(path)
    started = time.perf_counter()
    compact.compact(store, leg, root=leg == "fetch")
    seconds = time.perf_counter() - started
    rows = len(plan_store.unit_ids(store, "00000")) * UNIT_CLIPS
    return {"leg": leg, "rows": rows, "rows_per_s": round(rows / seconds)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["make", "select", "export", "compact"])
    parser.add_argument("root")
    parser.add_argument("--rows", type=int, default=47_000_000)
    parser.add_argument("--view", default="MQ")
    parser.add_argument("--waves", type=int, default=0, help="How much of the view is handed out; 0: all.")
    parser.add_argument("--units", type=int, default=4_000)
    given = parser.parse_args()
    if given.what == "make":
        make(given.root, given.rows)
    elif given.what == "select":
        for preset in ("AutoReCapXL", "MQ", "HQ"):
            measured(one_select, given.root, preset)
        measured(one_filter, given.root, "clap_score >= 0.4 and not contains(caption, 'wind')")
    elif given.what == "export":
        measured(one_plan, given.root, given.view)
        measured(some_waves, given.root, given.view, given.waves)
    else:
        make_units(given.root, given.units)
        for leg in LEGS:
            measured(one_compaction, given.root, leg)


if __name__ == "__main__":
    main()
