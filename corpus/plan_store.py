"""The plan on disk: parts, each with its source entries, its planned clips and its sources' outcomes.

    plan/inputs/<part>.parquet    what was listed: written first
    plan/sources/.tmp-<part>-<12 hex>       one planner's sources, named by the hash of that planner's clips
    plan/units/<part>.parquet     the planned clips, one row group per unit, so that a unit is read alone
    plan/sources/<part>.parquet   one row per source; written last: its presence says that the part is planned

A part never changes once it is planned; a plan grows by new parts. Bytes are deterministic. Two planners of one part,
or one that was killed between two files, may have been told different things by a site: whoever puts the sources
in place takes those that belong to the clips that are there (hence the `.tmp-` file).
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.schema import GIVEN, PLAN, SOURCE, SOURCES
from corpus.store import TEMPORARY, Store, StoreError
from corpus.work_ids import WORK_ID

#: `<part>-<number>`, five digits or more each: a unit's id becomes a path.
UNIT_ID = re.compile(r"[0-9]{5,9}-[0-9]{5,9}")


#: Texts that a source's clips share.
_REPEATED = ["source_id", "source_key", *(typed.name for typed in SOURCE if typed.type == pa.string()), "media"]


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
    """The part that a unit, or a retry of it, belongs to. StoreError for what is no such id."""
    if not WORK_ID.fullmatch(unit_id):
        raise StoreError(f"not a unit's id: {unit_id!r}; they look like 00000-00003, of a retry 00000-00003.r1")
    return unit_id.split("-", 1)[0]


def write_inputs(store: Store, part: str, entries: pa.Table) -> bool:
    """Put a part's source entries in place; False when the part is there already."""
    return store.put_if_absent(inputs_path(part), parquet_bytes(entries))


def write_part(store: Store, part: str, units: pa.Table, sources: pa.Table) -> bool:
    """Put a planned part in place: clips first, then sources (the done mark); False when it was planned already.

    If another planner's clips are there, its sources are put beside them, not these.
    """
    clips, listed = _one_group_per_unit(as_planned(units)), parquet_bytes(_numbered(store, part, sources))
    won = False
    if not store.exists(sources_path(part)):
        store.put_if_absent(_pending_path(part, clips), listed)
        store.put_if_absent(units_path(part), clips)
        won = _finish_part(store, part, clips, listed)
    for path in store.list("plan/sources", temporary=True):
        if PurePosixPath(path).name.startswith(f"{TEMPORARY}{part}-"):
            store.delete(path)
    return won


def _numbered(store: Store, part: str, sources: pa.Table) -> pa.Table:
    """The sources with the attempts that their list says, if it lists them again (pipeline/retry.py)."""
    sources = sources.cast(SOURCES)
    if not store.exists(inputs_path(part)):
        return sources
    with store.open(inputs_path(part)) as file:
        parquet = pq.ParquetFile(file)
        if "attempt" not in parquet.schema_arrow.names:
            return sources
        listed = parquet.read(columns=["source_key", "attempt"])
    at = pc.index_in(sources.column("source_key"), value_set=listed.column("source_key").combine_chunks())
    numbers = pc.fill_null(listed.column("attempt").take(at), 0)
    return sources.set_column(sources.schema.get_field_index("attempt"), SOURCES.field("attempt"), numbers)


def _finish_part(store: Store, part: str, clips: bytes, listed: bytes) -> bool:
    there = store.read(units_path(part))
    if there == clips:
        return store.put_if_absent(sources_path(part), listed)
    try:
        return store.put_if_absent(sources_path(part), store.read(_pending_path(part, there)))
    except FileNotFoundError:
        if store.exists(sources_path(part)):  # the other planner has finished and tidied up
            return False
    # Clips whose sources nobody has: the done mark was taken away by hand. Units made from them would be refused.
    store.replace(units_path(part), clips)
    return store.put_if_absent(sources_path(part), listed)


def _pending_path(part: str, clips: bytes) -> str:
    return f"plan/sources/{TEMPORARY}{part}-{hashlib.sha256(clips).hexdigest()[:12]}"


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
        yield from units_of(store, part)


def units_of(store: Store, part: str) -> Iterator[UnitInfo]:
    """The units of a planned part, in plan order."""
    table = pq.read_table(pa.BufferReader(store.read(units_path(part))), columns=["unit_id", "start_ms", "end_ms"])
    lengths = pc.subtract(table.column("end_ms"), table.column("start_ms"))
    sums = pa.table({"unit_id": table.column("unit_id"), "ms": lengths}).group_by("unit_id", use_threads=False)
    for row in sums.aggregate([("ms", "sum"), ("ms", "count")]).to_pylist():
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
        return as_planned(pq.ParquetFile(file, metadata=footer).read_row_group(groups[unit_id]))


def read_sources(store: Store, columns: list[str] | None = None) -> pa.Table:
    """All sources of all planned parts, or some columns of them: a million descriptions are gigabytes."""
    tables = [read_part_sources(store, part, columns) for part in planned_parts(store)]
    empty = SOURCES.empty_table()
    return pa.concat_tables(tables) if tables else empty.select(columns) if columns else empty


def read_part_sources(store: Store, part: str, columns: list[str] | None = None) -> pa.Table:
    """The sources of one planned part, or some columns of them."""
    return pq.read_table(pa.BufferReader(store.read(sources_path(part))), columns=columns)


def as_planned(clips: pa.Table) -> pa.Table:
    """Planned clips typed as PLAN, with GIVEN where their part has it."""
    has_given = GIVEN.names[0] in clips.column_names
    return clips.cast(pa.schema([*PLAN, *GIVEN]) if has_given else PLAN)


def gives_columns(store: Store, part: str) -> bool:
    """Whether a planned part's clips have columns of their sources' lists (GIVEN)."""
    with store.open(units_path(part)) as file:
        return GIVEN.names[0] in pq.ParquetFile(file).schema_arrow.names


def count_inputs(store: Store, part: str) -> int:
    """How many sources a part lists."""
    with store.open(inputs_path(part)) as file:
        return int(pq.ParquetFile(file).metadata.num_rows)


def read_inputs(store: Store, part: str, columns: list[str] | None = None) -> pa.Table:
    """A part's source entries, as listed, or some columns of them."""
    return pq.read_table(pa.BufferReader(store.read(inputs_path(part))), columns=columns)


def forget() -> None:
    """Drop what this process remembers of plan parts. Only for who changes a plan by hand."""
    _groups.cache_clear()


@lru_cache(maxsize=16)  # a footer of 20 k sources is 5 MB; units are worked in plan order, part after part
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
    with pq.ParquetWriter(
        sink,
        units.schema,
        # For many small row groups: zstd, and dictionaries and statistics that nobody uses, take five times as long.
        compression="snappy",
        use_dictionary=_REPEATED,
        write_statistics=["unit_id"],
        write_page_checksum=True,
    ) as writer:
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
    """A table as Parquet, the same bytes for the same rows; each page has a checksum, which `verify` looks at."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", row_group_size=row_group_size, write_page_checksum=True)
    return sink.getvalue()


def whole_table(data: bytes) -> pa.Table:
    """A Parquet file's rows, every page compared with its checksum. OSError or ArrowInvalid on damage."""
    return pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True).read()


def _stems(store: Store, prefix: str) -> list[str]:
    return [PurePosixPath(path).stem for path in store.list(prefix) if path.endswith(".parquet")]
