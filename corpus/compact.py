"""Compaction: thousands of small unit files into a few large ones, which is what `select` and `status` read.

    corpus/compacted/<leg>/<first unit>_<last unit>_<rows>.parquet

Groups are cut over the planned units, in order, at about a million rows; a group's file holds what is committed of
it. A group that has grown since is written again under another name (its row count differs) and the old file goes.
`scan` lays a later leg's columns beside the root's rows: same units, same order, clip ids compared.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus import plan_store, units
from corpus.store import Store

TARGET_ROWS = 1_000_000
ROW_GROUP_ROWS = 131_072


class CompactionError(Exception):
    """Compacted files of two legs do not hold the same clips; the message says where."""


@dataclass(frozen=True)
class _Group:
    unit_ids: tuple[str, ...]  # committed ones of the group, in plan order
    first: str
    last: str
    rows: int

    @property
    def file(self) -> str:
        return f"{self.first}_{self.last}_{self.rows}.parquet"


def compacted_folder(leg: str) -> str:
    return f"corpus/compacted/{leg}"


def compact(store: Store, leg: str, *, root: bool, target_rows: int = TARGET_ROWS) -> list[str]:
    """Bring the leg's compacted files up to date; returns their paths, in plan order."""
    done = units.done_units(store, leg, root=root)
    groups = [group for group in _groups(store, done, target_rows) if group.unit_ids]
    folder = compacted_folder(leg)
    wanted = [f"{folder}/{group.file}" for group in groups]
    present = set(store.list(folder))
    for group, path in zip(groups, wanted, strict=True):
        if path not in present:
            _write_group(store, leg, group, path, root=root)
    for path in present - set(wanted):
        store.delete(path)
    return wanted


def _groups(store: Store, done: set[str], target_rows: int) -> Iterator[_Group]:
    """Runs of planned units of about `target_rows` planned rows: they depend on the plan only."""
    members: list[plan_store.UnitInfo] = []
    for info in plan_store.iter_units(store):
        members.append(info)
        if sum_rows(members) >= target_rows:
            yield _group(members, done)
            members = []
    if members:
        yield _group(members, done)


def sum_rows(infos: Sequence[plan_store.UnitInfo]) -> int:
    return sum(info.rows for info in infos)


def _group(members: Sequence[plan_store.UnitInfo], done: set[str]) -> _Group:
    have = [info for info in members if info.unit_id in done]
    return _Group(
        tuple(info.unit_id for info in have),
        members[0].unit_id,
        members[-1].unit_id,
        sum(info.rows for info in have),
    )


def _write_group(store: Store, leg: str, group: _Group, path: str, *, root: bool) -> None:
    """Stream the group's units into one file beside the run's disk, then put it in place."""
    scratch = Path(tempfile.mkdtemp(prefix="autorecap-compact-"))
    try:
        file = scratch / "part.parquet"
        _stream(store, leg, group.unit_ids, file, root=root)
        store.replace(path, file)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _stream(store: Store, leg: str, unit_ids: Sequence[str], file: Path, *, root: bool) -> None:
    def read(unit_id: str) -> pa.Table:
        table = units.read_root_unit(store, unit_id) if root else units.read_columns_unit(store, leg, unit_id)
        return table.replace_schema_metadata(None)

    writer: pq.ParquetWriter | None = None
    waiting: list[pa.Table] = []
    rows = 0
    with ThreadPoolExecutor(8) as pool:
        for table in _bounded_map(pool, read, unit_ids):
            waiting.append(table)
            rows += table.num_rows
            writer = writer or pq.ParquetWriter(file, table.schema, compression="zstd")
            if rows >= ROW_GROUP_ROWS:
                writer.write_table(pa.concat_tables(waiting), row_group_size=ROW_GROUP_ROWS)
                waiting, rows = [], 0
    assert writer is not None
    if waiting:
        writer.write_table(pa.concat_tables(waiting), row_group_size=ROW_GROUP_ROWS)
    writer.close()


def _bounded_map(pool: ThreadPoolExecutor, read: object, unit_ids: Sequence[str]) -> Iterator[pa.Table]:
    """Like `pool.map`, but never more than a few dozen units ahead: memory stays flat."""
    assert callable(read)
    ahead = 32
    futures = [pool.submit(read, unit_id) for unit_id in unit_ids[:ahead]]
    for at in range(len(unit_ids)):
        yield futures[at].result()
        futures[at] = None  # type: ignore[call-overload]
        if len(futures) < len(unit_ids):
            futures.append(pool.submit(read, unit_ids[len(futures)]))


def scan(
    store: Store, legs: Sequence[str], columns: Sequence[str], *, batch_rows: int = ROW_GROUP_ROWS
) -> Iterator[pa.RecordBatch]:
    """The named columns of every clip that all `legs` (root leg first) have, in plan order, batch by batch.

    A column of a later leg hides an earlier one of the same name: outcome and reason are the last leg's. A
    column that no leg has is a KeyError that names it. Compact first.
    """
    files = [_files(store, leg) for leg in legs]
    names = [set(per_leg) for per_leg in files]
    common = [name for name in files[0] if all(_span(name) in {_span(other) for other in per_leg} for per_leg in names)]
    for name in common:
        paths = [next(path for other, path in per_leg.items() if _span(other) == _span(name)) for per_leg in files]
        yield from _scan_group(store, paths, list(columns), batch_rows)


def _files(store: Store, leg: str) -> dict[str, str]:
    return {PurePosixPath(path).name: path for path in store.list(compacted_folder(leg)) if path.endswith(".parquet")}


def _span(name: str) -> tuple[str, ...]:
    return tuple(name.split("_")[:2])


def _scan_group(store: Store, paths: Sequence[str], columns: list[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
    """One group: the rows that the last leg has, with each column from the latest leg that has it."""
    if len(paths) == 1:
        with store.open(paths[0]) as file:
            parquet = pq.ParquetFile(file)
            for batch in parquet.iter_batches(batch_rows, columns=_known(columns, [parquet.schema_arrow])):
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
    if any(parquet.metadata.num_rows != parquets[0].metadata.num_rows for parquet in parquets):
        yield from _matched(parquets, columns, owner, wanted)
        return
    streams = [parquet.iter_batches(batch_rows, columns=names) for parquet, names in zip(parquets, wanted, strict=True)]
    for batches in zip(*streams, strict=True):
        for path, batch in zip(paths, batches, strict=True):
            if not batch.column("clip_id").equals(batches[0].column("clip_id")):
                raise CompactionError(
                    f"{path} and {paths[0]} do not hold the same clips; delete both, they are made again"
                )
        yield pa.record_batch([_from(batches[owner[name]], name) for name in columns], names=columns)


def _matched(
    parquets: Sequence[pq.ParquetFile], columns: list[str], owner: dict[str, int], wanted: list[list[str]]
) -> Iterator[pa.RecordBatch]:
    """A leg that is behind: only the clips that every leg has, matched by id."""
    tables = [parquet.read(columns=names) for parquet, names in zip(parquets, wanted, strict=True)]
    ids = tables[-1].column("clip_id").combine_chunks()
    for table in tables[:-1]:
        ids = ids.filter(pc.is_in(ids, value_set=table.column("clip_id").combine_chunks()))
    aligned = [table.take(pc.index_in(ids, value_set=table.column("clip_id").combine_chunks())) for table in tables]
    merged = pa.table([aligned[owner[name]].column(name) for name in columns], names=columns)
    yield from merged.combine_chunks().to_batches()


def _from(batch: pa.RecordBatch, name: str) -> pa.Array:
    return batch.column(batch.schema.get_field_index(name))


def _known(columns: list[str], schemas: Sequence[pa.Schema]) -> list[str]:
    missing = [name for name in columns if not any(name in schema.names for schema in schemas)]
    if missing:
        raise KeyError(f"no leg has the column {', '.join(missing)}")
    return columns
