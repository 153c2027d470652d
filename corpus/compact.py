"""Compaction: thousands of small unit files into a few large ones, which is what `select` and `status` read.

    corpus/compacted/<leg>/<first unit>_<last unit>_<rows>_<12 hex of its sha256>.parquet

Groups are cut over the planned units, in order, at about a million rows; a group's file holds what is committed of
it. A group that has grown since is written again under another name (its row count differs) and the old file goes; a
killed compaction leaves both, and readers take the fuller one. Each file carries the hash of the unit files it was
made from, which `verify` compares. `scan` lays a later leg's columns beside the root's rows: same units, same order,
clip ids compared. Pictures stay behind in the units (`corpus.schema.UNIT_ONLY`).
"""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import PurePosixPath
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus import plan_store, units
from corpus.schema import UNIT_ONLY
from corpus.store import Store
from corpus.streamed import write_whole

TARGET_ROWS = 1_000_000
ROW_GROUP_ROWS = 131_072

#: Bytes of one column that are read at a time, where one leg is scanned alone.
_READ_BYTES = 4 << 20

#: Units read ahead of the one that is written.
_UNITS_AHEAD = 32

#: Metadata of a compacted file: hashes of its units' ids, and of its units' files.
_UNITS_KEY = "autorecap.units_sha256"
_CONTENT_KEY = "autorecap.content_sha256"

_FILE_NAME = re.compile(r"([0-9]+-[0-9]+)_([0-9]+-[0-9]+)_([0-9]+)_([0-9a-f]{12})\.parquet")


class CompactionError(Exception):
    """Compacted files of two legs do not hold the same clips; the message says where."""


@dataclass(frozen=True)
class Compacted:
    """A compacted file, as its name describes it."""

    path: str
    first: str
    last: str
    rows: int
    sha256: str  # the first 12 digits


@dataclass(frozen=True)
class _Group:
    unit_ids: tuple[str, ...]  # committed ones of the group, in plan order
    first: str
    last: str
    rows: int

    @property
    def stem(self) -> str:
        return f"{self.first}_{self.last}_{self.rows}"


def compacted_folder(leg: str) -> str:
    return f"corpus/compacted/{leg}"


def compact(store: Store, leg: str, *, root: bool, target_rows: int = TARGET_ROWS) -> list[str]:
    """Bring the leg's compacted files up to date; returns their paths, in plan order."""
    done = units.done_units(store, leg, root=root)
    groups = [group for group in _groups(store, done, target_rows) if group.unit_ids]
    present = store.list(compacted_folder(leg))
    by_stem = {PurePosixPath(path).stem.rpartition("_")[0]: path for path in present}
    paths = [by_stem.get(group.stem) or _write_group(store, leg, group, root=root) for group in groups]
    for path in set(present) - set(paths):
        store.delete(path)
    return paths


def _groups(store: Store, done: set[str], target_rows: int) -> Iterator[_Group]:
    """Runs of planned units of about `target_rows` planned rows: they depend on the plan only."""
    members: list[plan_store.UnitInfo] = []
    rows = 0
    for info in plan_store.iter_units(store):
        members.append(info)
        rows += info.rows
        if rows >= target_rows:
            yield _group(members, done)
            members, rows = [], 0
    if members:
        yield _group(members, done)


def _group(members: Sequence[plan_store.UnitInfo], done: set[str]) -> _Group:
    have = [info for info in members if info.unit_id in done]
    return _Group(
        tuple(info.unit_id for info in have),
        members[0].unit_id,
        members[-1].unit_id,
        sum(info.rows for info in have),
    )


def _write_group(store: Store, leg: str, group: _Group, *, root: bool) -> str:
    """Stream the group's units into one file on the run's own disk, then put it in place."""
    base = f"{compacted_folder(leg)}/{group.stem}"
    stream = partial(_stream, store, leg, group.unit_ids, root)
    placed = write_whole(store, base, stream, named=lambda placed: f"{base}_{placed.sha256[:12]}.parquet")
    return f"{base}_{placed.sha256[:12]}.parquet"


def content_sha256(unit_hashes: Iterable[tuple[str, str]]) -> str:
    """One hash for many units' files: of their ids and SHA-256, in order."""
    return hashlib.sha256("".join(f"{unit_id} {sha256}\n" for unit_id, sha256 in unit_hashes).encode()).hexdigest()


def _stream(store: Store, leg: str, unit_ids: Sequence[str], root: bool, file: BinaryIO) -> None:
    def read(unit_id: str) -> tuple[pa.Table, str]:
        path = units.unit_path(leg, unit_id, root=root)
        data = store.read(path)
        table = units.table_of(path, data)
        table = table.drop_columns([name for name in UNIT_ONLY if name in table.column_names])
        return table.replace_schema_metadata(None), hashlib.sha256(data).hexdigest()

    writer: pq.ParquetWriter | None = None
    waiting: list[pa.Table] = []
    hashes: list[tuple[str, str]] = []
    rows = 0
    with ThreadPoolExecutor(8) as pool:
        for unit_id, (table, sha256) in zip(unit_ids, _bounded_map(pool, read, unit_ids), strict=True):
            hashes.append((unit_id, sha256))
            writer = writer or pq.ParquetWriter(file, table.schema, compression="zstd", write_page_checksum=True)
            _same_columns(store, leg, unit_ids[0], writer.schema, unit_id, table.schema)
            waiting.append(table)
            rows += table.num_rows
            if rows >= ROW_GROUP_ROWS:
                writer.write_table(pa.concat_tables(waiting), row_group_size=ROW_GROUP_ROWS)
                waiting, rows = [], 0
    assert writer is not None
    if waiting:
        writer.write_table(pa.concat_tables(waiting), row_group_size=ROW_GROUP_ROWS)
    ids = hashlib.sha256("\n".join(unit_ids).encode()).hexdigest()
    writer.add_key_value_metadata({_UNITS_KEY: ids, _CONTENT_KEY: content_sha256(hashes)})
    writer.close()


def _same_columns(store: Store, leg: str, first: str, expected: pa.Schema, unit_id: str, found: pa.Schema) -> None:
    if not found.equals(expected):
        raise CompactionError(
            f"{store.root}: units {first} and {unit_id} of leg {leg} were committed with different columns; delete "
            f"the older one's Parquet and run the leg again with this version"
        )


def _bounded_map(
    pool: ThreadPoolExecutor, read: Callable[[str], tuple[pa.Table, str]], unit_ids: Sequence[str]
) -> Iterator[tuple[pa.Table, str]]:
    """Like `pool.map`, but never more than a few dozen units ahead: memory stays flat."""
    waiting: deque[Future[tuple[pa.Table, str]]] = deque()
    for unit_id in unit_ids:
        if len(waiting) == _UNITS_AHEAD:
            yield waiting.popleft().result()
        waiting.append(pool.submit(read, unit_id))
    while waiting:
        yield waiting.popleft().result()


def scan(
    store: Store, legs: Sequence[str], columns: Sequence[str], *, batch_rows: int = ROW_GROUP_ROWS
) -> Iterator[pa.RecordBatch]:
    """The named columns of every clip that all `legs` (root leg first) have, in plan order, batch by batch.

    A column of a later leg hides an earlier one of the same name: outcome and reason are the last leg's. A
    column that no leg has is a KeyError that names it. Compact first.
    """
    # A group is known by its first unit: when a plan grows, only the last group's end moves.
    by_first = [{file.first: file.path for file in compacted_files(store, leg)} for leg in legs]
    for first in by_first[0]:
        if all(first in per_leg for per_leg in by_first):
            yield from _scan_group(store, [per_leg[first] for per_leg in by_first], list(columns), batch_rows)


def compacted_files(store: Store, leg: str) -> list[Compacted]:
    """The leg's compacted files in plan order, without those that a killed compaction left beside a fuller one."""
    fullest: dict[str, Compacted] = {}
    for path in store.list(compacted_folder(leg)):
        if found := _FILE_NAME.fullmatch(PurePosixPath(path).name):
            file = Compacted(path, found[1], found[2], int(found[3]), found[4])
            other = fullest.get(file.first)
            if other is None or (other.rows, other.last) < (file.rows, file.last):
                fullest[file.first] = file
    files = sorted(fullest.values(), key=lambda file: file.first)
    for before, after in pairwise(files):
        if after.first <= before.last:
            raise CompactionError(
                f"{before.path} and {after.path} hold the same units; delete corpus/compacted, it is made again"
            )
    return files


def content_hash_of(parquet: pq.ParquetFile) -> str | None:
    """What a compacted file says of the unit files it was made from."""
    value = (parquet.metadata.metadata or {}).get(_CONTENT_KEY.encode())
    return None if value is None else str(value.decode())


def _scan_group(store: Store, paths: Sequence[str], columns: list[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
    """One group: the rows that the last leg has, with each column from the latest leg that has it."""
    if len(paths) == 1:
        with store.open(paths[0]) as file:
            parquet = pq.ParquetFile(file, buffer_size=_READ_BYTES)
            known = _known(columns, [parquet.schema_arrow])
            # Group by group: one iterator over all keeps what it has read of wide columns (embeddings) to its end.
            for group in range(parquet.num_row_groups):
                for batch in parquet.iter_batches(batch_rows, row_groups=[group], columns=known):
                    yield batch.select(columns)
        return
    opened = []
    try:
        for path in paths:
            context = store.open(path)
            opened.append((context, pq.ParquetFile(context.__enter__())))
        yield from _side_by_side([parquet for _, parquet in opened], columns, batch_rows, paths)
    finally:
        for context, _ in opened:
            context.__exit__(None, None, None)


def _side_by_side(
    parquets: Sequence[pq.ParquetFile], columns: list[str], batch_rows: int, paths: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    schemas = [parquet.schema_arrow for parquet in parquets]
    _known(columns, schemas)
    owner = {name: max(at for at, schema in enumerate(schemas) if name in schema.names) for name in columns}
    wanted = [
        ["clip_id", *(name for name in columns if owner[name] == at and name != "clip_id")]
        for at in range(len(schemas))
    ]
    if len({_units_of(parquet) for parquet in parquets}) > 1:
        yield from _matched(parquets, columns, owner, wanted)
        return
    streams = [parquet.iter_batches(batch_rows, columns=names) for parquet, names in zip(parquets, wanted, strict=True)]
    for batches in zip(*streams, strict=True):
        for path, batch in zip(paths, batches, strict=True):
            if not batch.column("clip_id").equals(batches[0].column("clip_id")):
                raise CompactionError(
                    f"{path} and {paths[0]} do not hold the same clips; delete corpus/compacted, it is made again"
                )
        yield pa.record_batch([_from(batches[owner[name]], name) for name in columns], names=columns)


def _matched(
    parquets: Sequence[pq.ParquetFile], columns: list[str], owner: dict[str, int], wanted: list[list[str]]
) -> Iterator[pa.RecordBatch]:
    """A leg that is behind: only the clips that every leg has, matched by id. One group at most is in memory."""
    tables = [parquet.read(columns=names) for parquet, names in zip(parquets, wanted, strict=True)]
    ids = tables[-1].column("clip_id").combine_chunks()
    for table in tables[:-1]:
        ids = ids.filter(pc.is_in(ids, value_set=table.column("clip_id").combine_chunks()))
    aligned = [table.take(pc.index_in(ids, value_set=table.column("clip_id").combine_chunks())) for table in tables]
    merged = pa.table([aligned[owner[name]].column(name) for name in columns], names=columns)
    yield from merged.combine_chunks().to_batches()


def _units_of(parquet: pq.ParquetFile) -> tuple[bytes | None, int]:
    """Equal for two files that hold the same units."""
    return (parquet.metadata.metadata or {}).get(_UNITS_KEY.encode()), parquet.metadata.num_rows


def _from(batch: pa.RecordBatch, name: str) -> pa.Array:
    return batch.column(batch.schema.get_field_index(name))


def _known(columns: list[str], schemas: Sequence[pa.Schema]) -> list[str]:
    missing = [name for name in columns if not any(name in schema.names for schema in schemas)]
    if missing:
        raise KeyError(f"no leg has the column {', '.join(missing)}")
    return columns
