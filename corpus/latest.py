"""Some columns of every clip, and of every source, as its latest attempt left it: what counts and lists are made of.

A leg's compacted files are read, and beside them the units that are in none of them, or were tried again since.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus import attempts, plan_store, units
from corpus.compacted import Compacted, compacted_files, made_of
from corpus.store import Store
from corpus.view_rows import whole_units
from corpus.work_ids import work_id

#: Rows of a compacted file that are read at a time.
_BATCH_ROWS = 131_072

#: Units read ahead of the one that is looked at.
_AHEAD = 256


def latest_clips(
    store: Store, leg: str, columns: Sequence[str], *, root: bool, of: dict[str, list[int]] | None = None
) -> Iterator[pa.Table]:
    """The columns of all clips that a leg has committed, and `unit_id`; a column that a file lacks is left out.

    Batch by batch, in no order. `of`: units, sorted, and their committed attempts; all, if it is not given.
    """
    numbers = attempts.attempts_by_unit(units.done_work(store, leg, root=root)) if of is None else of
    names = list(dict.fromkeys(["unit_id", *columns]))
    seen: set[str] = set()
    for file in compacted_files(store, leg):
        use = _units_to_use(file, numbers)
        with suppress(FileNotFoundError), store.open(file.path) as opened:  # a compaction may just have replaced it
            batches = pq.ParquetFile(opened).iter_batches(_BATCH_ROWS, columns=names)
            for rows in whole_units(batches, True):  # of a file that goes while it is read no unit is seen by half
                rows = rows.filter(pc.is_in(rows.column("unit_id"), value_set=pa.array(use, pa.string())))
                seen.update(pc.unique(rows.column("unit_id")).to_pylist())
                yield rows

    def read(unit_id: str) -> pa.Table:
        return attempts.read_latest(store, leg, unit_id, root=root, attempts=numbers[unit_id], columns=names)

    left = [unit_id for unit_id in numbers if unit_id not in seen]
    with ThreadPoolExecutor(8) as pool:
        for at in range(0, len(left), _AHEAD):
            yield from pool.map(read, left[at : at + _AHEAD])


def _units_to_use(file: Compacted, numbers: dict[str, list[int]]) -> list[str]:
    """The units whose rows in a compacted file are their latest: all, if it was made of all there is now."""
    ordered = list(numbers)
    inside = ordered[bisect_left(ordered, file.first) : bisect_right(ordered, file.last)]
    if made_of(work_id(unit_id, number) for unit_id in inside for number in numbers[unit_id]) == file.made_of:
        return inside
    return [unit_id for unit_id in inside if numbers[unit_id] == [0]]


def latest_sources(store: Store, columns: Sequence[str]) -> Iterator[tuple[str, pa.Table]]:
    """(part, columns of its sources) of all planned parts, the last one first; a source is where its last attempt is.

    A source is tried again in a later part, so whoever comes from behind meets its latest attempt first.
    """
    names = list(dict.fromkeys(["source_key", "attempt", *columns]))
    tried_again: set[str] = set()
    for part in reversed(plan_store.planned_parts(store)):
        rows = plan_store.read_part_sources(store, part, names)
        again = rows.filter(pc.greater(rows.column("attempt"), 0)).column("source_key").to_pylist()
        if tried_again:
            old = pc.is_in(rows.column("source_key"), value_set=pa.array(tried_again, pa.string()))
            rows = rows.filter(pc.invert(old))
        tried_again.update(again)
        yield part, rows.select(list(columns))
