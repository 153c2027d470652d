"""Cached media that nobody will drop any more: left by a worker that was killed between its commit and the tidying.

A source belongs to consecutive units of one part. When they are all committed nothing needs its media: a worker that
still has one of these units in hand loses the race to commit it anyway.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from corpus import attempts, plan_store, units
from corpus.store import Store
from corpus.work_ids import unit_of
from stages.cache import MediaCache


def forget_leftovers(store: Store, cache_dir: Path, root_leg: str) -> int:
    """Drop what this machine has cached of sources whose units, and their retries, are all committed; how many."""
    if not cache_dir.is_dir():
        return 0
    names = [entry.name for entry in cache_dir.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    if not names:
        return 0
    cache = MediaCache(cache_dir)
    tried_again = {unit_of(work) for work in attempts.pending_retries(store, [root_leg])}

    def is_done(unit_id: str) -> bool:
        return unit_id not in tried_again and store.exists(units.root_path(unit_id))

    finished = [
        source_id
        for source_id, first_unit in _first_units(store, pa.array(names, pa.string()))
        if all(is_done(unit_id) for unit_id in _units_of(store, source_id, first_unit))
    ]
    for source_id in finished:
        cache.drop(source_id)
    return len(finished)


def _first_units(store: Store, source_ids: pa.Array) -> Iterator[tuple[str, str]]:
    """Where the clips of these sources begin; one part of the plan is looked at at a time."""
    for part in plan_store.planned_parts(store):
        listed = plan_store.read_part_sources(store, part, ["source_id", "first_unit"])
        for row in listed.filter(pc.is_in(listed.column("source_id"), value_set=source_ids)).to_pylist():
            if row["first_unit"]:
                yield row["source_id"], row["first_unit"]


def _units_of(store: Store, source_id: str, first_unit: str) -> Iterator[str]:
    planned = plan_store.read_unit(store, first_unit)
    at = pc.index(planned.column("source_id"), source_id).as_py()
    part, number = first_unit.split("-")
    for more in range(planned.column("source_units")[at].as_py() or 1):
        yield f"{part}-{int(number) + more:05d}"
