"""The plan on disk: parts, each with its source entries, its planned clips and its sources' outcomes.

    plan/inputs/<part>.parquet    what was listed: written first
    plan/units/<part>.parquet     the planned clips, one row group per unit, so that a unit is read alone
    plan/sources/<part>.parquet   one row per source; written last: its presence says that the part is planned

A part never changes once it is planned; a plan grows by new parts. Bytes are deterministic.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.schema import PLAN, SOURCES
from corpus.store import Store


@dataclass(frozen=True)
class UnitInfo:
    """A planned unit, as the driver needs it."""

    unit_id: str
    part: str
    rows: int
    audio_ms: int


def inputs_path(part: str) -> str:
    return f"plan/inputs/{part}.parquet"


def units_path(part: str) -> str:
    return f"plan/units/{part}.parquet"


def sources_path(part: str) -> str:
    return f"plan/sources/{part}.parquet"


def part_of(unit_id: str) -> str:
    return unit_id.split("-", 1)[0]


def write_inputs(store: Store, part: str, entries: pa.Table) -> bool:
    """Put a part's source entries in place; False when the part is there already."""
    return store.put_if_absent(inputs_path(part), parquet_bytes(entries))


def write_part(store: Store, part: str, units: pa.Table, sources: pa.Table) -> bool:
    """Put a planned part in place: clips first, then sources (the done mark); False when it was planned already."""
    units, sources = units.cast(PLAN), sources.cast(SOURCES)
    store.put_if_absent(units_path(part), _one_group_per_unit(units))
    return store.put_if_absent(sources_path(part), parquet_bytes(sources))


def parts(store: Store) -> list[str]:
    """Every part that has been listed, planned or not."""
    return _stems(store, "plan/inputs")


def planned_parts(store: Store) -> list[str]:
    """The parts that are planned, in order."""
    return _stems(store, "plan/sources")


def part_sha256(store: Store, part: str) -> str:
    """Hash of a part's planned clips: committed units carry it."""
    return hashlib.sha256(store.read(units_path(part))).hexdigest()


def iter_units(store: Store) -> Iterator[UnitInfo]:
    """Every planned unit in plan order, without reading more than three columns."""
    for part in planned_parts(store):
        table = pq.read_table(pa.BufferReader(store.read(units_path(part))), columns=["unit_id", "start_ms", "end_ms"])
        lengths = pc.subtract(table.column("end_ms"), table.column("start_ms"))
        sums = pa.table({"unit_id": table.column("unit_id"), "ms": lengths}).group_by("unit_id", use_threads=False)
        grouped = sums.aggregate([("ms", "sum"), ("ms", "count")])
        for row in grouped.to_pylist():
            yield UnitInfo(row["unit_id"], part, row["ms_count"], row["ms_sum"])


def unit_ids(store: Store, part: str) -> list[str]:
    """The part's units, in order."""
    return list(_groups(store.root, part)[0])


def read_unit(store: Store, unit_id: str) -> pa.Table:
    """The planned rows of one unit (schema PLAN). KeyError when no such unit is planned."""
    groups, footer = _groups(store.root, part_of(unit_id))
    if unit_id not in groups:
        raise KeyError(f"unit {unit_id} is not in the plan of {store.root}")
    with store.open(units_path(part_of(unit_id))) as file:
        return pq.ParquetFile(file, metadata=footer).read_row_group(groups[unit_id]).cast(PLAN)


def read_sources(store: Store) -> pa.Table:
    """All sources of all planned parts (schema SOURCES)."""
    tables = [pq.read_table(pa.BufferReader(store.read(sources_path(part)))) for part in planned_parts(store)]
    return pa.concat_tables(tables) if tables else SOURCES.empty_table()


def read_inputs(store: Store, part: str) -> pa.Table:
    """A part's source entries, as listed."""
    return pq.read_table(pa.BufferReader(store.read(inputs_path(part))))


@lru_cache(maxsize=256)
def _groups(root: str, part: str) -> tuple[dict[str, int], pq.FileMetaData]:
    """unit_id -> row group, and the footer, of a planned part; a part never changes, so a process may keep this."""
    with Store(root).open(units_path(part)) as file:
        parquet = pq.ParquetFile(file)
        column = parquet.schema_arrow.get_field_index("unit_id")
        found = {}
        for group in range(parquet.num_row_groups):
            found[parquet.metadata.row_group(group).column(column).statistics.min] = group
        return found, parquet.metadata


def _one_group_per_unit(units: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, PLAN, compression="zstd") as writer:
        at = 0
        for length in _run_lengths(units.column("unit_id").to_pylist()):
            writer.write_table(units.slice(at, length), row_group_size=length)
            at += length
    return sink.getvalue()


def _run_lengths(values: list[str]) -> list[int]:
    lengths: list[int] = []
    for at, value in enumerate(values):
        if at and value == values[at - 1]:
            lengths[-1] += 1
        else:
            lengths.append(1)
    return lengths


def parquet_bytes(table: pa.Table, row_group_size: int = 131_072) -> bytes:
    """A table as Parquet, the same bytes for the same rows."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", row_group_size=row_group_size)
    return sink.getvalue()


def _stems(store: Store, prefix: str) -> list[str]:
    return [PurePosixPath(path).stem for path in store.list(prefix) if path.endswith(".parquet")]
