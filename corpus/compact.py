"""Compaction: thousands of small unit files into a few large ones, which is what `select` and `status` read.

Groups are cut over the planned units, in order, at about a million rows; a group's file holds what is committed of
it, each clip as its latest attempt left it (corpus/attempts.py), and some narrow columns (corpus/narrow.py). It
carries the hash of the unit files it was made from, which `verify` compares. Pictures stay behind in the units
(`corpus.schema.UNIT_ONLY`).

Any number of compactions may run at once: files are listed before units are, so what a file holds that is not the
wanted one is known to be listed too, or gone; and nobody deletes a file that a view refers to (corpus/compacted.py).
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from corpus import plan_store, units
from corpus.attempts import attempts_by_unit, overlaid
from corpus.compacted import (
    CLIPS_KEY,
    CONTENT_KEY,
    UNITS_KEY,
    CompactionError,
    as_compacted,
    compacted_folder,
    content_sha256,
    forget_marks,
    path_of,
    stem,
    take_away,
)
from corpus.narrow import Narrow
from corpus.schema import UNIT_ONLY
from corpus.store import Store
from corpus.streamed import write_whole
from corpus.work_ids import work_id

TARGET_ROWS = 1_000_000
ROW_GROUP_ROWS = 131_072

#: Units read ahead of the one that is written.
_UNITS_AHEAD = 32

#: Part of the plan -> unit id -> rows, of the parts that a compaction has seen.
_PLANNED_UNITS = "corpus/planned_units.json"

#: A unit's files: its own, then its retries'.
_Works = tuple[str, ...]


@dataclass(frozen=True)
class _Group:
    units: tuple[_Works, ...]  # committed ones of the group, in plan order
    first: str
    last: str
    rows: int

    @property
    def stem(self) -> str:
        return stem(self.first, self.last, self.rows, [work for works in self.units for work in works])


def compact(store: Store, leg: str, *, root: bool, target_rows: int = TARGET_ROWS) -> list[str]:
    """Bring the leg's compacted files up to date; returns their paths, in plan order."""
    listed = store.list(compacted_folder(leg))
    present = [path for path in listed if path.endswith(".parquet")]
    attempts = attempts_by_unit(units.done_work(store, leg, root=root))
    groups = [group for group in _groups(store, attempts, target_rows) if group.units]
    known = {_stem_of(path): path for path in present if as_compacted(path)}
    paths = [known.get(group.stem) or _write_group(store, leg, group, root=root) for group in groups]
    _clear(store, sorted(set(present) - set(paths)), paths)
    forget_marks(store, listed)
    return paths


def _clear(store: Store, others: Sequence[str], paths: Sequence[str]) -> None:
    """Take away what `paths` replace; at once what holds more than they: its units were taken out of the corpus."""
    files = {file.first: file for path in paths if (file := as_compacted(path))}
    replaced = []
    for path in others:
        other = as_compacted(path)
        if other is None or (other.first in files and other.is_older_than(files[other.first])):
            replaced.append(path)
        else:
            store.delete(path)
    take_away(store, replaced)


def _stem_of(path: str) -> str:
    """Without the hash and the format."""
    return PurePosixPath(path).stem.rsplit("_", 2)[0]


def _groups(store: Store, attempts: Mapping[str, Sequence[int]], target_rows: int) -> Iterator[_Group]:
    """Runs of planned units of about `target_rows` planned rows: they depend on the plan only."""
    members: list[tuple[str, int]] = []
    total = 0
    for unit_id, rows in _planned_units(store):
        members.append((unit_id, rows))
        total += rows
        if total >= target_rows:
            yield _group(members, attempts)
            members, total = [], 0
    if members:
        yield _group(members, attempts)


def _group(members: Sequence[tuple[str, int]], attempts: Mapping[str, Sequence[int]]) -> _Group:
    have = [(unit_id, rows) for unit_id, rows in members if unit_id in attempts]
    return _Group(
        tuple(tuple(work_id(unit_id, number) for number in attempts[unit_id]) for unit_id, _ in have),
        members[0][0],
        members[-1][0],
        sum(rows for _, rows in have),
    )


def _planned_units(store: Store) -> list[tuple[str, int]]:
    """(unit id, rows) of the plan, in order. Parts never change: each is read once, for all compactions to come."""
    known: dict[str, dict[str, int]] = {}
    with suppress(FileNotFoundError, ValueError):
        known = json.loads(store.read(_PLANNED_UNITS))
    parts = plan_store.planned_parts(store)
    if new := [part for part in parts if part not in known]:
        known |= {part: {info.unit_id: info.rows for info in plan_store.units_of(store, part)} for part in new}
        known = {part: known[part] for part in parts}
        store.replace(_PLANNED_UNITS, json.dumps(known).encode())
    return [unit for part in parts for unit in known[part].items()]


def _write_group(store: Store, leg: str, group: _Group, *, root: bool) -> str:
    """Stream the group's units into one file on the run's own disk, then put it in place."""
    base = f"{compacted_folder(leg)}/{group.stem}"
    placed = write_whole(
        store,
        base,
        partial(_stream, store, leg, group.units, root),
        named=lambda placed: path_of(leg, group.stem, placed.sha256),
    )
    return path_of(leg, group.stem, placed.sha256)


def _stream(store: Store, leg: str, group: Sequence[_Works], root: bool, file: BinaryIO) -> None:
    def read(works: _Works) -> tuple[pa.Table, list[tuple[str, str]]]:
        tables, hashes = [], []
        for work in works:
            path = units.unit_path(leg, work, root=root)
            data = store.read(path)
            tables.append(units.table_of(path, data))
            hashes.append((work, hashlib.sha256(data).hexdigest()))
        table = overlaid(tables)
        table = table.drop_columns([name for name in UNIT_ONLY if name in table.column_names])
        return table.replace_schema_metadata(None), hashes

    writer = _Writer(file, Narrow(root=root))
    hashes: list[tuple[str, str]] = []
    first: pa.Schema | None = None
    with ThreadPoolExecutor(8) as pool:
        for works, (table, found) in zip(group, _bounded_map(pool, read, group), strict=True):
            hashes += found
            first = first or table.schema
            _same_columns(store, leg, group[0][0], first, works[-1], table.schema)
            writer.add(table)
    ids = hashlib.sha256("\n".join(works[0] for works in group).encode()).hexdigest()
    writer.close({UNITS_KEY: ids, CONTENT_KEY: content_sha256(hashes)})


class _Writer:
    """Whole units into row groups of exactly ROW_GROUP_ROWS, so that those of several legs lie side by side."""

    def __init__(self, file: BinaryIO, narrow: Narrow) -> None:
        self._file, self._narrow = file, narrow
        self._parquet: pq.ParquetWriter | None = None
        self._units: list[pa.Table] = []
        self._ready: list[pa.Table] = []  # with their narrow columns, not yet written
        self._rows = 0  # of both
        self._clips = hashlib.sha256()

    def add(self, unit: pa.Table) -> None:
        self._units.append(unit)
        self._rows += unit.num_rows
        if self._rows >= ROW_GROUP_ROWS:
            self._write(ROW_GROUP_ROWS)

    def close(self, metadata: dict[str, str]) -> None:
        self._write(1)
        assert self._parquet is not None
        self._parquet.add_key_value_metadata({**metadata, CLIPS_KEY: self._clips.hexdigest()})
        self._parquet.close()

    def _write(self, at_least: int) -> None:
        """Row groups, as long as there are so many rows."""
        if self._units:
            rows = pa.concat_tables(self._units)
            self._clips.update("".join(f"{clip_id}\n" for clip_id in rows.column("clip_id").to_pylist()).encode())
            self._ready.append(self._narrow.beside(rows))
            self._units = []
        rows = pa.concat_tables(self._ready)
        self._parquet = self._parquet or pq.ParquetWriter(
            self._file, rows.schema, compression="zstd", write_page_checksum=True
        )
        while rows.num_rows >= at_least:
            self._parquet.write_table(rows.slice(0, ROW_GROUP_ROWS), row_group_size=ROW_GROUP_ROWS)
            rows = rows.slice(ROW_GROUP_ROWS)
        self._ready, self._rows = [rows], rows.num_rows


def _same_columns(store: Store, leg: str, first: str, expected: pa.Schema, unit_id: str, found: pa.Schema) -> None:
    if not found.equals(expected):
        raise CompactionError(
            f"{store.root}: units {first} and {unit_id} of leg {leg} were committed with different columns; delete "
            f"the older one's Parquet and run the leg again with this version"
        )


def _bounded_map(
    pool: ThreadPoolExecutor,
    read: Callable[[_Works], tuple[pa.Table, list[tuple[str, str]]]],
    group: Sequence[_Works],
) -> Iterator[tuple[pa.Table, list[tuple[str, str]]]]:
    """Like `pool.map`, but never more than a few dozen units ahead: memory stays flat."""
    waiting: deque[Future[tuple[pa.Table, list[tuple[str, str]]]]] = deque()
    for works in group:
        if len(waiting) == _UNITS_AHEAD:
            yield waiting.popleft().result()
        waiting.append(pool.submit(read, works))
    while waiting:
        yield waiting.popleft().result()
