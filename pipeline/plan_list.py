"""The list of a plan: what is new in the recipe's sources, written as parts, each source once.

Keys are compared by a digest of 16 bytes, in an SQLite table of this process on the disk: neither the entries nor the
keys of a million sources are in memory. Entries pass by in tables of some thousand; a part is written when it is full.
"""

from __future__ import annotations

import gc
import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pyarrow as pa

from corpus import plan_store
from corpus.store import Store
from pipeline.config import Recipe
from pipeline.plan_asking import PlanError
from pipeline.sources import ListReport, read_sources

MAX_PARTS = 100_000  # five digits in a part's name

#: What the last listing left out of its lists, by reason, with the broken lines' numbers.
REPORT_PATH = "plan/lists.json"

#: Keys that one statement asks for: SQLite takes 32,766 values.
_AT_ONCE = 8192

#: Parts whose keys are read ahead of those that are looked at.
_PARTS_AHEAD = 8


@dataclass(frozen=True, kw_only=True)
class Listed:
    """What a listing found. `known` entries were in the plan already, `duplicates` came twice in the lists."""

    new: int = 0
    known: int = 0
    duplicates: int = 0
    reports: Sequence[ListReport] = field(default_factory=tuple)


def list_sources(recipe: Recipe, store: Store, scratch: Path | None = None) -> Listed:
    """Write what is new as parts of the plan. Raises SourceError, PlanError."""
    there = plan_store.parts(store)
    parts = _Parts(store, recipe.plan.sources_per_part, max((int(part) for part in there), default=-1) + 1)
    reports: list[ListReport] = []
    counts: Counter[str] = Counter()
    with Keys() as keys, _settled_heap():
        for known in _keys_of_parts(store, there):
            keys.add_known(known)
        for batch in read_sources(recipe.sources, recipe.plan, reports=reports, scratch=scratch):
            kinds = keys.kinds_of(batch.column("source_key").to_pylist())
            counts.update(kinds)
            parts.add(batch.filter(pa.array([kind == "new" for kind in kinds], pa.bool_())))
    parts.close()
    told = [report for report in reports if report.is_told]
    if told:
        text = json.dumps([report.as_json() for report in told], indent=2, ensure_ascii=False)
        store.replace(REPORT_PATH, (text + "\n").encode())
    return Listed(new=counts["new"], known=counts["known"], duplicates=counts["duplicates"], reports=tuple(told))


@contextmanager
def _settled_heap() -> Iterator[None]:
    """What lives already is not looked at by each collection among the short-lived millions: a tenth of the time."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


class _Parts:
    """Entries of new sources, written whenever a part is full."""

    def __init__(self, store: Store, sources_per_part: int, number: int) -> None:
        self._store, self._size, self._number = store, sources_per_part, number
        self._waiting: list[pa.Table] = []
        self._rows = 0

    def add(self, entries: pa.Table) -> None:
        self._waiting.append(entries)
        self._rows += entries.num_rows
        while self._rows >= self._size:
            together = pa.concat_tables(self._waiting)
            self._write(together.slice(0, self._size))
            # A copy: a slice would keep all that it is cut from.
            left = together.slice(self._size)
            self._waiting, self._rows = [left.take(pa.array(range(left.num_rows), pa.int64()))], left.num_rows

    def close(self) -> None:
        if self._rows:
            self._write(pa.concat_tables(self._waiting))

    def _write(self, entries: pa.Table) -> None:
        number, self._number = self._number, self._number + 1
        if number >= MAX_PARTS:
            raise PlanError(f"the plan has {MAX_PARTS} parts, which is all it can have: raise plan.sources_per_part")
        if not plan_store.write_inputs(self._store, f"{number:05d}", entries.combine_chunks()):
            raise PlanError(f"part {number:05d} has just been listed by another `plan` of this run: wait for it")


def _keys_of_parts(store: Store, parts: Sequence[str]) -> Iterator[list[str]]:
    """The keys of the listed sources, part by part; an object store is asked for some parts at a time."""

    def keys(part: str) -> list[str]:
        return cast(list[str], plan_store.read_inputs(store, part, ["source_key"]).column(0).to_pylist())

    with ThreadPoolExecutor(_PARTS_AHEAD) as pool:
        for at in range(0, len(parts), _PARTS_AHEAD):
            yield from pool.map(keys, parts[at : at + _PARTS_AHEAD])


class Keys:
    """Which keys a plan has, and which a listing has met. On the disk: SQLite's own temporary file, without a name."""

    def __init__(self) -> None:
        # Each number of values is another statement of up to a megabyte: few of them are kept.
        self._database = sqlite3.connect("", isolation_level=None, cached_statements=2)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-4096"):  # 4 MiB
            self._database.execute(f"PRAGMA {pragma}")
        for name in ("known", "met"):
            self._database.execute(f"CREATE TABLE {name} (digest BLOB PRIMARY KEY) WITHOUT ROWID")
        self._database.execute("BEGIN")
        self._has_known = False

    def __enter__(self) -> Keys:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._database.close()

    def add_known(self, keys: Iterable[str]) -> None:
        """Keys that are in the plan."""
        self._insert("known", [_digest(key) for key in keys])
        self._has_known = True

    def kinds_of(self, keys: Sequence[str]) -> list[str]:
        """Of each key: `new`; `known`, in the plan already; `duplicates`, met before in these lists."""
        digests = [_digest(key) for key in keys]
        first = self._insert("met", digests)
        known = self._present(first) if self._has_known else set()
        kinds = []
        for digest in digests:
            if digest not in first:
                kinds.append("duplicates")
                continue
            first.discard(digest)  # its second coming in the same batch is a duplicate
            kinds.append("known" if digest in known else "new")
        return kinds

    def _insert(self, table: str, digests: Sequence[bytes]) -> set[bytes]:
        """Those that were not there. In order: neighbours share a page."""
        return self._ask(f"INSERT OR IGNORE INTO {table} VALUES {{}} RETURNING digest", "(?)", sorted(set(digests)))

    def _present(self, digests: Iterable[bytes]) -> set[bytes]:
        return self._ask("SELECT digest FROM known WHERE digest IN ({})", "?", sorted(digests))

    def _ask(self, statement: str, place: str, digests: Sequence[bytes]) -> set[bytes]:
        found: set[bytes] = set()
        for at in range(0, len(digests), _AT_ONCE):
            values = digests[at : at + _AT_ONCE]
            filled = statement.format(",".join([place] * len(values)))
            found.update(row[0] for row in self._database.execute(filled, values))
        return found


def _digest(source_key: str) -> bytes:
    return hashlib.blake2b(source_key.encode(), digest_size=16).digest()
