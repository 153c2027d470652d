"""A view: the clips that a query keeps, with all an exporter needs to know of them. No model runs.

    view = select(store, ["fetch", "models"], "mq", preset="MQ")
    views/mq.parquet   one row per clip, in plan order (schema VIEW)
    views/mq.json      the query, what came of it, and the Parquet's SHA-256

Rows stream through in batches, so memory does not grow with the corpus, and the same corpus and query give the
same bytes. Only clips whose outcome is `ok` are looked at. A joined clip is one row: its audio is that of its
`members`, in order, and its span ends where the last of them ends.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from corpus.store import Store
from corpus.streamed import write_whole
from corpus.view_query import Query, ViewError, Wanted, compacted_names, corpus_schema, make_query
from corpus.view_rows import Counts, Ints, ahead, kept_rows, regrouped

FORMAT_VERSION = 1

_ROW_GROUP = 131_072
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class View:
    """A view in a run folder."""

    store: Store
    name: str
    summary: dict[str, Any]

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
    def path(self) -> str:
        return parquet_path(self.name)

    def read(self, columns: Sequence[str]) -> pa.Table:
        """Some columns of every row."""
        with self.store.open(self.path) as file:
            return pq.ParquetFile(file).read(columns=list(columns))

    def rows(self, indices: Ints) -> pa.Table:
        """All columns of the rows at `indices` (ascending), reading only the row groups that hold them."""
        found = []
        with self.store.open(self.path) as file:
            parquet = pq.ParquetFile(file)
            start = 0
            for group in range(parquet.num_row_groups):
                stop = start + parquet.metadata.row_group(group).num_rows
                first, last = np.searchsorted(indices, [start, stop])
                if first < last:
                    found.append(parquet.read_row_group(group).take(pa.array(indices[first:last] - start)))
                start = stop
            empty = parquet.schema_arrow.empty_table()
        return pa.concat_tables(found).combine_chunks() if found else empty


def parquet_path(name: str) -> str:
    return f"views/{name}.parquet"


def summary_path(name: str) -> str:
    return f"views/{name}.json"


def open_view(store: Store, name: str) -> View:
    """A view that was made; ViewError when there is none or it is half made."""
    _check_name(name)
    try:
        summary = json.loads(store.read(summary_path(name)))
        with store.open(parquet_path(name)) as file:
            metadata = pq.ParquetFile(file).schema_arrow.metadata or {}
    except FileNotFoundError as error:
        there = ", ".join(view_names(store)) or "none"
        raise ViewError(f"{store.root} has no view {name!r} (there are: {there}); make it: autorecap select") from error
    except (ValueError, OSError) as error:
        raise ViewError(f"view {name!r} of {store.root} cannot be read: {error}; run autorecap select again") from error
    if metadata.get(b"autorecap.query", b"").decode() != _canonical(summary.get("query")):
        raise ViewError(f"view {name!r} was being made anew when that was stopped; run autorecap select again")
    return View(store, name, summary)


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
) -> View:
    """Make (or make anew) the view `name` over the compacted columns of `legs`, root leg first.

    `clap_min` keeps scores from it up, `min_duration_s` clips longer than it; `where` is a filter
    (corpus/expression.py); `preset` one of PRESETS, with `thresholds[clap_model][subset]` where a scorer has its
    own, the paper's otherwise. `keep` names further columns that the view, and then each exported record, carries.
    Clips that a dedup leg has found to be copies of a kept one stay out, unless `keep_duplicates`.
    """
    _check_name(name)
    known = corpus_schema(store, legs)
    query = make_query(
        store, legs, known, where, clap_min, min_duration_s, preset, thresholds or {}, keep, keep_duplicates
    )
    wanted = Wanted(known, query)
    counts = Counts()

    def write(file: BinaryIO) -> None:
        schema = wanted.schema.with_metadata({"autorecap.query": _canonical(_plain(query))})
        with pq.ParquetWriter(file, schema, compression="zstd") as writer:
            for group in ahead(regrouped(kept_rows(store, legs, wanted, counts), _ROW_GROUP)):
                writer.write_table(group.cast(wanted.schema).replace_schema_metadata(schema.metadata))

    placed = write_whole(store, parquet_path(name), write)
    summary = {
        "format_version": FORMAT_VERSION,
        "name": name,
        "query": _plain(query),
        "legs": list(legs),
        **counts.as_json(),
        "bytes": placed.size,
        "sha256": placed.sha256,
        "corpus": {leg: compacted_names(store, leg) for leg in legs},
    }
    store.replace(summary_path(name), (json.dumps(summary, indent=2, ensure_ascii=False) + "\n").encode())
    return View(store, name, summary)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ViewError(f"{name!r} cannot be a view's name: letters, digits, - and _ only, up to 64")


def _plain(query: Query) -> dict[str, Any]:
    return {**asdict(query), "thresholds": dict(query.thresholds), "keep": list(query.keep)}


def _canonical(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
