"""What has failed in a run, and where: clips in the leg that ended them, and sources that could not be planned.

A clip has failed in a leg when its latest attempt there failed and the leg before had let it pass. Clips that a
planned retry is about to try again are left out: they have not failed until that attempt has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from corpus import attempts, plan_store, units
from corpus.latest import latest_clips, latest_sources
from corpus.schema import SOURCES, fields
from corpus.store import Store
from pipeline.runfolder import retries_of

#: What is known of a failed clip; `attempt` is the one that failed.
FAILED_CLIPS = fields("clip_id", "unit_id", "reason", "detail", "stage", "attempt")

#: What is known of a failed source. `part` is where its latest attempt was planned.
FAILED_SOURCES = pa.schema(
    [
        *(SOURCES.field(name) for name in ("source_key", "source_id", "url", "reason", "detail", "attempt")),
        pa.field("part", pa.string()),
    ]
)


def failed_clips(store: Store, started: Mapping[str, Mapping[str, Any]]) -> dict[str, pa.Table]:
    """Leg -> its failed clips (FAILED_CLIPS, sorted by unit), of all legs that have started and are no jobs."""
    found: dict[str, pa.Table] = {}
    ended: dict[str, pa.Array] = {}  # leg -> every clip that has failed there or before
    for leg, chain in retries_of(started).items():
        work = units.done_work(store, leg, root=len(chain) == 1)
        numbers = attempts.attempts_by_unit(work)
        rows = _failed(latest_clips(store, leg, ["outcome", *FAILED_CLIPS.names], root=len(chain) == 1, of=numbers))
        ended[leg] = rows.column("clip_id").combine_chunks()
        others = [ids for _, ids in attempts.clips_of(store, attempts.pending_retries(store, chain, done=work))]
        if len(chain) > 1:
            others.append(ended[chain[-2]])
        if others:
            rows = rows.filter(pc.invert(pc.is_in(rows.column("clip_id"), value_set=pa.concat_arrays(others))))
        found[leg] = rows.sort_by([("unit_id", "ascending"), ("clip_id", "ascending")])
    return found


def _failed(batches: Iterable[pa.Table]) -> pa.Table:
    tables = []
    for rows in batches:
        bad = rows.filter(pc.fill_null(pc.equal(rows.column("outcome"), "failed"), False))
        if bad.num_rows:
            columns = [
                bad.column(typed.name) if typed.name in bad.column_names else pa.nulls(bad.num_rows, typed.type)
                for typed in FAILED_CLIPS
            ]
            tables.append(pa.table(columns, names=FAILED_CLIPS.names).cast(FAILED_CLIPS))
    return pa.concat_tables(tables) if tables else FAILED_CLIPS.empty_table()


def failed_sources(store: Store) -> pa.Table:
    """Sources whose latest attempt failed (FAILED_SOURCES), without those that are listed to be planned again."""
    tables = []
    names = [name for name in FAILED_SOURCES.names if name != "part"]
    for part, rows in latest_sources(store, ["outcome", *names]):
        bad = rows.filter(pc.equal(rows.column("outcome"), "failed")).select(names)
        tables.append(bad.append_column("part", pa.array([part] * bad.num_rows, pa.string())))
    if not tables:
        return FAILED_SOURCES.empty_table()
    found = pa.concat_tables(reversed(tables)).cast(FAILED_SOURCES)
    waiting = pa.array(_listed_again(store), pa.string())
    return found.filter(pc.invert(pc.is_in(found.column("source_key"), value_set=waiting)))


def _listed_again(store: Store) -> Iterator[str]:
    """Keys of sources in parts that are listed and not planned yet."""
    planned = set(plan_store.planned_parts(store))
    for part in plan_store.parts(store):
        if part not in planned:
            yield from plan_store.read_inputs(store, part).column("source_key").to_pylist()


def count_reasons(tables: Sequence[pa.Table]) -> dict[str, int]:
    """Reason -> how many rows of the tables have it, most frequent first."""
    reasons = pa.chunked_array([chunk for table in tables for chunk in table.column("reason").chunks], pa.string())
    counts = {str(entry["values"]): entry["counts"].as_py() for entry in pc.value_counts(reasons)}
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
