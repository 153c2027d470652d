"""Rows of several legs side by side: one stretch of the plan, the units that every leg has of it, in plan order.

    for group in open_groups(store, ["fetch", "models"]):
        group.read(["clip_id", "caption"])                # all rows
        group.read(["url"], positions=np.array([3, 17]))  # some
    for batch in scan(store, ["fetch", "models"], ["clip_id", "outcome"]): ...

A column of a later leg hides an earlier one of the same name: outcome and reason are the last leg's. Legs that are
behind lack units: their rows are matched by unit, and every clip's id is compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.compact import ROW_GROUP_ROWS
from corpus.compacted import CLIPS_KEY, UNITS_KEY, CompactionError, compacted_files
from corpus.store import Store

Ints = npt.NDArray[np.int64]

#: Columns that tell of another one: a leg whose caption hides an earlier one hides whose that was, too.
MADE_BY = {"caption_model": "caption", "caption_logprob": "caption", "clap_model": "clap_score"}

#: Bytes of one column that are read at a time, where one leg is scanned alone.
_READ_BYTES = 4 << 20


def group_files(store: Store, legs: Sequence[str]) -> list[list[str]]:
    """For each stretch of the plan that all `legs` have something of: their compacted files, in the order of `legs`."""
    # A group is known by its first unit: when a plan grows, only the last group's end moves.
    by_first = [{file.first: file.path for file in compacted_files(store, leg)} for leg in legs]
    return [[per_leg[first] for per_leg in by_first] for first in by_first[0] if all(first in leg for leg in by_first)]


@contextmanager
def open_group(store: Store, paths: Sequence[str], *, dictionaries: Sequence[str] = ()) -> Iterator[Group]:
    """The group that these files, one of each leg (root leg first), make. Columns in `dictionaries` come as such."""
    with ExitStack() as stack:
        files = [stack.enter_context(store.open(path)) for path in paths]
        yield Group([_parquet(file, dictionaries, alone=len(paths) == 1) for file in files], paths)


def _parquet(file: BinaryIO, dictionaries: Sequence[str], *, alone: bool) -> pq.ParquetFile:
    metadata = pq.read_metadata(file)
    there = set(metadata.schema.names)
    return pq.ParquetFile(
        file,
        metadata=metadata,
        read_dictionary=[name for name in dictionaries if name in there],
        buffer_size=_READ_BYTES if alone else 0,
    )


class Group:
    """Files of several legs, opened. Positions count the rows that every leg has, from 0, in plan order."""

    def __init__(self, parquets: Sequence[pq.ParquetFile], paths: Sequence[str]) -> None:
        self._parquets, self._paths = list(parquets), list(paths)
        self.schemas = [parquet.schema_arrow for parquet in self._parquets]
        self._once: dict[tuple[str, ...], pa.Table] = {}
        self._rows = self._matched()
        self.rows = self._parquets[0].metadata.num_rows if self._rows is None else len(self._rows[0])

    @property
    def is_aligned(self) -> bool:
        """Whether all legs have the same units."""
        return self._rows is None

    def owner(self, name: str) -> int | None:
        """The last leg that has the column. Who made a value is said by the leg that has the value, or by nobody."""
        found = max((at for at, schema in enumerate(self.schemas) if name in schema.names), default=None)
        value = self.owner(MADE_BY[name]) if name in MADE_BY else None
        return None if found is not None and value is not None and found < value else found

    def read(self, columns: Sequence[str], positions: Ints | None = None) -> pa.Table:
        """The named columns of all rows, or of those at `positions` (ascending). KeyError: no leg has the column."""
        owners = self._owners(columns)
        found: dict[str, pa.ChunkedArray] = {}
        for at in sorted(set(owners.values())):
            own = self.read_leg(at, [name for name in columns if owners[name] == at], positions)
            found |= {name: own.column(name) for name in own.column_names}
        return pa.table({name: found[name] for name in columns})

    def read_once(self, columns: tuple[str, ...]) -> pa.Table:
        """Narrow columns of all rows, which are kept for the next who asks."""
        if columns not in self._once:
            self._once[columns] = self.read(columns)
        return self._once[columns]

    def read_leg(self, at: int, columns: Sequence[str], positions: Ints | None = None) -> pa.Table:
        """As `read`, of one leg."""
        rows = None if self._rows is None else self._rows[at]
        if positions is not None:
            rows = positions if rows is None else rows[positions]
        parquet = self._parquets[at]
        if rows is None:
            return parquet.read(columns=list(columns))
        found = []
        start = 0
        for group in range(parquet.num_row_groups):
            stop = start + parquet.metadata.row_group(group).num_rows
            first, last = np.searchsorted(rows, [start, stop])
            if first < last:
                whole = parquet.read_row_group(group, columns=list(columns))
                found.append(
                    whole if last - first == whole.num_rows else whole.take(pa.array(rows[first:last] - start))
                )
            start = stop
        if not found:
            return pa.schema([self.schemas[at].field(name) for name in columns]).empty_table()
        return pa.concat_tables(found)

    def batches(self, columns: Sequence[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
        """The named columns of all rows, bit by bit."""
        owners = self._owners(columns)
        legs = sorted(set(owners.values()))
        if len(legs) == 1 and self.is_aligned:
            parquet = self._parquets[legs[0]]
            # Group by group: one iterator over all keeps what it has read of wide columns (embeddings) to its end.
            for group in range(parquet.num_row_groups):
                for batch in parquet.iter_batches(batch_rows, row_groups=[group], columns=list(columns)):
                    yield batch.select(list(columns))
            return
        if self.is_aligned:
            streams = [
                self._parquets[at].iter_batches(batch_rows, columns=[n for n in columns if owners[n] == at])
                for at in legs
            ]
            for batches in zip(*streams, strict=True):
                found = {name: batch.column(name) for batch in batches for name in batch.schema.names}
                yield pa.record_batch([found[name] for name in columns], names=list(columns))
            return
        for first in range(0, self.rows, batch_rows):
            some = self.read(columns, np.arange(first, min(first + batch_rows, self.rows)))
            yield from some.combine_chunks().to_batches()

    def _owners(self, columns: Sequence[str]) -> dict[str, int]:
        owners = {name: self.owner(name) for name in columns}
        if missing := [name for name, owner in owners.items() if owner is None]:
            raise KeyError(f"no leg has the column {', '.join(missing)}")
        return {name: owner for name, owner in owners.items() if owner is not None}

    def _matched(self) -> list[Ints] | None:
        """Each leg's rows that all legs have; None where they have the same units."""
        if len({_stated(parquet, UNITS_KEY) for parquet in self._parquets}) == 1:
            for parquet, path in zip(self._parquets, self._paths, strict=True):
                if _stated(parquet, CLIPS_KEY) != _stated(self._parquets[0], CLIPS_KEY):
                    raise self._others(path)
            return None
        ids = [parquet.read(columns=["unit_id"]).column(0).combine_chunks() for parquet in self._parquets]
        shared = pc.unique(ids[0])
        for units in ids[1:]:
            shared = shared.filter(pc.is_in(shared, value_set=pc.unique(units)))
        rows = [np.flatnonzero(pc.is_in(units, value_set=shared).to_numpy(zero_copy_only=False)) for units in ids]
        clips = [
            parquet.read(columns=["clip_id"]).column(0).combine_chunks().take(pa.array(own))
            for parquet, own in zip(self._parquets, rows, strict=True)
        ]
        for path, own in zip(self._paths, clips, strict=True):
            if not own.equals(clips[0]):
                raise self._others(path)
        return rows

    def _others(self, path: str) -> CompactionError:
        return CompactionError(
            f"{path} and {self._paths[0]} do not hold the same clips; delete corpus/compacted, it is made again"
        )


def _stated(parquet: pq.ParquetFile, key: str) -> bytes | None:
    found: bytes | None = (parquet.metadata.metadata or {}).get(key.encode())
    return found


def scan(
    store: Store, legs: Sequence[str], columns: Sequence[str], *, batch_rows: int = ROW_GROUP_ROWS
) -> Iterator[pa.RecordBatch]:
    """The named columns of every clip that all `legs` (root leg first) have, in plan order, batch by batch.

    A column that no leg has is a KeyError that names it. Compact first.
    """
    for paths in group_files(store, legs):
        with open_group(store, paths) as group:
            yield from group.batches(columns, batch_rows)
