"""What the dedup job looks at: the clips that are ok, each with its fingerprint, hash and what decides who stays.

A join is one clip: its fingerprint is its members' in order, its hash that of theirs, its length their sum.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from corpus.fingerprints import HOP_MS, WINDOW_MS, joined
from corpus.groups import scan
from corpus.store import Store
from corpus.view_query import corpus_schema
from corpus.view_rows import whole_units

#: One row per ok clip.
CLIPS = pa.schema(
    [
        pa.field("clip_id", pa.string()),
        pa.field("duration_ms", pa.int64()),
        pa.field("clipping_ratio", pa.float32()),
        pa.field("bandwidth_hz", pa.int32()),
        pa.field("sample_rate_hz", pa.int32()),
        pa.field("hash", pa.string()),
        pa.field("fingerprint", pa.binary()),
    ]
)

_ALWAYS = ["clip_id", "unit_id", "outcome", "num_samples", "sample_rate_hz", "sha256"]
_IF_THERE = ["pcm_sha256", "clipping_ratio", "bandwidth_hz", "joined_end_ms", "merged_into", "fingerprint"]


def scan_clips(store: Store, legs: Sequence[str], *, near: bool = True) -> Iterator[tuple[pa.Table, list[str]]]:
    """(ok clips as CLIPS, unit id of every one of them, units in full) batch by batch, in plan order.

    Without `near` no fingerprint is read. Every unit that all legs have is named, also one without an ok clip.
    """
    known = corpus_schema(store, legs).names
    columns = [*_ALWAYS, *(name for name in _IF_THERE if name in known and (near or name != "fingerprint"))]
    for table in whole_units(scan(store, legs, columns), True):
        yield table, pc.unique(table.column("unit_id")).to_pylist()


def ok_clips(table: pa.Table) -> pa.Table:
    """The ok clips of whole units, as CLIPS, and their `unit_id`."""
    rates = pc.cast(table.column("sample_rate_hz"), pa.int64())
    columns: dict[str, Any] = {
        "clip_id": table.column("clip_id"),
        "duration_ms": pc.divide(pc.multiply(table.column("num_samples"), 1000), rates),
        "hash": _hashes(table),
    }
    for typed in CLIPS:
        if typed.name not in columns:
            has = typed.name in table.column_names
            columns[typed.name] = table.column(typed.name) if has else pa.nulls(table.num_rows, typed.type)
    clips = pa.table([columns[typed.name] for typed in CLIPS], schema=CLIPS)
    if "merged_into" in table.column_names:
        clips = _with_joins(clips, table)
    clips = clips.append_column("unit_id", table.column("unit_id"))
    return clips.filter(pc.fill_null(pc.equal(table.column("outcome"), "ok"), False))


def _hashes(table: pa.Table) -> Any:
    """Of the samples (96 bits of it are enough) and their rate; of the encoded bytes where there is no other."""
    hashes = table.column("sha256")
    if "pcm_sha256" in table.column_names:
        hashes = pc.coalesce(table.column("pcm_sha256"), hashes)
    hashes = pc.utf8_slice_codeunits(hashes, 0, 24)
    return pc.binary_join_element_wise(hashes, pc.cast(table.column("sample_rate_hz"), pa.string()), "@")


def _with_joins(clips: pa.Table, table: pa.Table) -> pa.Table:
    """The first clip of each join with what the join has as a whole. Its other members are not ok: they fall away."""
    names = clips.column("clip_id").to_pylist()
    members: dict[str, list[int]] = {}
    merged = table.column("merged_into")
    for row in pc.indices_nonzero(merged.is_valid()).to_pylist():
        members.setdefault(merged[row].as_py(), []).append(row)
    if not members:
        return clips
    at = {name: row for row, name in enumerate(names) if name in members}
    wholes = {at[head]: _whole(clips.take([at[head], *rows])) for head, rows in members.items() if head in at}
    mask = pa.array([row in wholes for row in range(clips.num_rows)])
    for name in ("duration_ms", "hash", "fingerprint"):
        typed = CLIPS.field(name)
        values = pa.array([wholes[row][name] for row in sorted(wholes)], typed.type)
        replaced = pc.replace_with_mask(clips.column(name).combine_chunks(), mask, values)
        clips = clips.set_column(clips.schema.get_field_index(name), typed, replaced)
    return clips


def _whole(members: pa.Table) -> dict[str, Any]:
    """Duration, hash and fingerprint of a join, from those of its members in order."""
    rows = members.select(["duration_ms", "hash", "fingerprint"]).to_pylist()
    lengths = [row["duration_ms"] or 0 for row in rows]
    starts = [round(sum(lengths[:at]) / HOP_MS) for at in range(len(rows))]
    frames = max((sum(lengths) - WINDOW_MS) // HOP_MS, 0)
    hashes = "\n".join(str(row["hash"]) for row in rows)
    prints = [(row["fingerprint"], start) for row, start in zip(rows, starts, strict=True)]
    return {
        "duration_ms": sum(lengths),
        "hash": f"join {hashlib.sha256(hashes.encode()).hexdigest()[:24]}"
        if all(row["hash"] for row in rows)
        else None,
        "fingerprint": joined(prints, frames) if any(row["fingerprint"] for row in rows) else None,
    }
