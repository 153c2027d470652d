"""A view: the clips that a query keeps, by where they stand in the compacted files. No model runs, no text is copied.

    view = select(store, ["fetch", "models"], "mq", preset="MQ")
    views/mq.parquet   the positions of the kept rows: a row group for each group of files, which its metadata names
    views/mq.json      the query, what came of it, the files, and the Parquet's SHA-256
    view.read(["clip_id", "caption"]), view.batches(), view.rows(indices)   rows as schema VIEW has them

The compacted files that a view names carry their hash in their name, never change, and stay as long as a view names
them (corpus/compacted.py): a view shows the same rows for ever, whatever is committed later. The same corpus and
query give the same bytes. A joined clip is one row: its audio is that of its `members`, in order, and its span ends
where the last of them ends.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from corpus.compact import ROW_GROUP_ROWS
from corpus.compacted import FORMAT_VERSION, all_stay
from corpus.groups import group_files, open_group
from corpus.store import Store
from corpus.view_joins import Ints
from corpus.view_query import Query, ViewError, Wanted, corpus_schema, make_query
from corpus.view_rows import DICTIONARIES, Counts, Kept, decide, rows_at

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

#: In the Parquet's metadata: a hash of the query, the groups, the schema of the rows.
_QUERY, _GROUPS, _ROWS = b"autorecap.query", b"autorecap.groups", b"autorecap.rows"

#: Groups that are decided at the same time: what is read of one is some 50 MB.
_AT_ONCE = 4

#: How often a view is begun anew because a file went while it was read.
_TRIES = 5


@dataclass(frozen=True)
class _Part:
    """The files of a group, one of each leg, and which rows of the view it holds."""

    files: tuple[str, ...]
    first: int
    stop: int


@dataclass(frozen=True)
class View:
    """A view in a run folder, as it was when it was opened."""

    store: Store
    name: str
    summary: dict[str, Any]
    data: bytes  # the Parquet

    @property
    def clips(self) -> int:
        return int(self.summary["clips"])

    @property
    def hours(self) -> float:
        return float(self.summary["hours"])

    @property
    def sources(self) -> int:
        return int(self.summary["sources"])

    @property
    def query_hash(self) -> str:
        return self._metadata.get(_QUERY, b"").decode()

    @cached_property
    def schema(self) -> pa.Schema:
        """Of the rows: VIEW, and the columns that were asked to be kept."""
        return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(self._metadata[_ROWS])))

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Some columns (None: all) of every row."""
        schema = self._schema(columns)
        return pa.Table.from_batches(
            [batch for table in self.batches(columns) for batch in table.to_batches()], schema=schema
        )

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Some columns (None: all) of every row, bit by bit."""
        for at, part in enumerate(self._parts):
            if part.first < part.stop:
                yield from self._rows_at(part, self._positions(at), self._schema(columns))

    def rows(self, indices: Ints) -> pa.Table:
        """All columns of the rows at `indices` (ascending)."""
        found = [self.schema.empty_table()]
        for at, part in enumerate(self._parts):
            first, last = np.searchsorted(indices, [part.first, part.stop])
            if first < last:
                wanted = self._positions(at)[indices[first:last] - part.first]
                found += self._rows_at(part, wanted, self.schema)
        return pa.concat_tables(found).combine_chunks()

    def _rows_at(self, part: _Part, positions: Ints, schema: pa.Schema) -> Iterator[pa.Table]:
        """Row group by row group of the files: what is in memory is as large as one of them."""
        try:
            with open_group(self.store, part.files) as group:
                cuts = np.flatnonzero(np.diff(positions // ROW_GROUP_ROWS)) + 1
                for some in np.split(positions, cuts):
                    yield rows_at(group, schema, some)
        except FileNotFoundError as error:
            raise ViewError(
                f"view {self.name!r} of {self.store.root}: {error.filename or error} is gone; "
                "run autorecap select again"
            ) from error

    def _schema(self, columns: Sequence[str] | None) -> pa.Schema:
        return self.schema if columns is None else pa.schema([self.schema.field(name) for name in columns])

    @cached_property
    def _parquet(self) -> pq.ParquetFile:
        return pq.ParquetFile(pa.py_buffer(self.data))

    @cached_property
    def _metadata(self) -> dict[bytes, bytes]:
        return self._parquet.metadata.metadata or {}

    @cached_property
    def _parts(self) -> list[_Part]:
        parts: list[_Part] = []
        for about in json.loads(self._metadata[_GROUPS]):
            first = parts[-1].stop if parts else 0
            parts.append(_Part(tuple(about["files"]), first, first + about["kept"]))
        return parts

    def _positions(self, part: int) -> Ints:
        """Where the part's rows stand in its group."""
        filled = sum(1 for before in self._parts[:part] if before.first < before.stop)
        column = self._parquet.read_row_group(filled).column(0)
        return column.to_numpy().astype(np.int64)  # type: ignore[no-any-return]


def parquet_path(name: str) -> str:
    return f"views/{name}.parquet"


def summary_path(name: str) -> str:
    return f"views/{name}.json"


def open_view(store: Store, name: str) -> View:
    """A view that was made; ViewError when there is none or it is half made."""
    _check_name(name)
    try:
        summary = json.loads(store.read(summary_path(name)))
        data = store.read(parquet_path(name))
    except FileNotFoundError as error:
        there = ", ".join(view_names(store)) or "none"
        raise ViewError(f"{store.root} has no view {name!r} (there are: {there}); make it: autorecap select") from error
    except (ValueError, OSError) as error:
        raise ViewError(f"view {name!r} of {store.root} cannot be read: {error}; run autorecap select again") from error
    if not isinstance(summary, dict) or summary.get("format_version") != FORMAT_VERSION:
        raise ViewError(f"view {name!r} of {store.root} was made by another version; run autorecap select again")
    view = View(store, name, summary, data)
    if hashlib.sha256(data).hexdigest() != summary.get("sha256") or view.query_hash != _canonical(summary.get("query")):
        raise ViewError(
            f"view {name!r} is damaged, or was being made anew when that was stopped; run autorecap select again"
        )
    return view


def view_names(store: Store) -> list[str]:
    files = store.list("views")
    return [path[len("views/") : -len(".json")] for path in files if path.endswith(".json")]


def select(
    store: Store,
    legs: Sequence[str],
    name: str,
    *,
    where: str | None = None,
    clap_min: float | None = None,
    min_duration_s: float | None = None,
    preset: str | None = None,
    thresholds: Mapping[str, Mapping[str, float]] | None = None,
    keep: Sequence[str] = (),
    keep_duplicates: bool = False,
    include_filtered: Sequence[str] = (),
    ends: Sequence[str] = (),
    prepare: Callable[[], object] | None = None,
) -> View:
    """Make (or make anew) the view `name` over the compacted columns of `legs`, root leg first.

    `clap_min` keeps scores from it up, `min_duration_s` clips longer than it; `where` is a filter
    (corpus/expression.py); `preset` one of PRESETS, with `thresholds[clap_model][subset]` where a scorer has its
    own, the paper's otherwise. `keep` names further columns that the view, and then each exported record, carries.
    Clips that a dedup leg has found to be copies of a kept one stay out, unless `keep_duplicates`. Only clips are
    looked at that are ok in each of the legs `ends` (default: the last), or were filtered for one of the reasons
    `include_filtered` and have audio. `prepare` brings the compacted files up to date once more, where
    another compaction has replaced some meanwhile.
    """
    _check_name(name)
    for number in range(_TRIES):
        try:
            if number and prepare is not None:
                prepare()
            known = corpus_schema(store, legs)
            query = make_query(
                store,
                legs,
                known,
                where,
                clap_min,
                min_duration_s,
                preset,
                thresholds or {},
                keep,
                keep_duplicates,
                include_filtered,
            )
            view = _made(store, legs, name, Wanted(known, query), [legs.index(leg) for leg in ends or legs[-1:]])
        except FileNotFoundError:
            continue
        if all_stay(store, [path for part in view._parts for path in part.files]):
            return view
    raise ViewError(f"{store.root}: its compacted files are replaced faster than they can be read; try again later")


def _made(store: Store, legs: Sequence[str], name: str, wanted: Wanted, ends: Sequence[int]) -> View:
    counts = Counts()
    groups: list[dict[str, Any]] = []
    buffer = io.BytesIO()
    schema = pa.schema([pa.field("position", pa.int32(), nullable=False)])
    how = {"position": "DELTA_BINARY_PACKED"}
    with pq.ParquetWriter(buffer, schema, compression="zstd", use_dictionary=False, column_encoding=how) as writer:
        for files, kept in _decided(store, group_files(store, legs), wanted, ends):
            counts.add(kept)
            groups.append({"files": list(files), "kept": len(kept.positions)})
            if len(kept.positions):
                writer.write_table(
                    pa.table([pa.array(kept.positions, pa.int32())], schema=schema), row_group_size=len(kept.positions)
                )
        said = {
            _QUERY: _canonical(_plain(wanted.query)),
            _GROUPS: json.dumps(groups),
            _ROWS: base64.b64encode(wanted.schema.serialize().to_pybytes()).decode(),
        }
        writer.add_key_value_metadata(said)
    data = buffer.getvalue()
    summary = {
        "format_version": FORMAT_VERSION,
        "name": name,
        "query": _plain(wanted.query),
        "legs": list(legs),
        "ends": [legs[at] for at in ends],
        **counts.as_json(),
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "corpus": {leg: [PurePosixPath(group["files"][at]).name for group in groups] for at, leg in enumerate(legs)},
    }
    store.replace(parquet_path(name), data)
    store.replace(summary_path(name), (json.dumps(summary, indent=2, ensure_ascii=False) + "\n").encode())
    return View(store, name, summary, data)


def _decided(
    store: Store, groups: Iterable[Sequence[str]], wanted: Wanted, ends: Sequence[int]
) -> Iterator[tuple[Sequence[str], Kept]]:
    """What is kept of each group, in order; a few groups are looked at at the same time."""

    def look(files: Sequence[str]) -> Kept:
        with open_group(store, files, dictionaries=DICTIONARIES) as group:
            return decide(group, wanted, ends)

    waiting: deque[tuple[Sequence[str], Future[Kept]]] = deque()
    with ThreadPoolExecutor(min(_AT_ONCE, os.cpu_count() or 1)) as pool:
        for files in groups:
            if len(waiting) == _AT_ONCE:
                done, kept = waiting.popleft()
                yield done, kept.result()
            waiting.append((files, pool.submit(look, files)))
        while waiting:
            done, kept = waiting.popleft()
            yield done, kept.result()


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ViewError(f"{name!r} cannot be a view's name: letters, digits, - and _ only, up to 64")


def _plain(query: Query) -> dict[str, Any]:
    lists = {name: list(getattr(query, name)) for name in ("keep", "include_filtered")}
    return {**asdict(query), "thresholds": dict(query.thresholds), **lists}


def _canonical(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
