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
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus import compact
from corpus.expression import Filter, parse
from corpus.schema import TRANSIENT, fields
from corpus.store import Store
from corpus.streamed import write_whole

FORMAT_VERSION = 1

#: Where one clip's audio lies. The members of a join, the first included.
MEMBER = pa.struct(
    [
        pa.field("clip_id", pa.string()),
        pa.field("tar", pa.string()),
        pa.field("tar_member", pa.string()),
        pa.field("tar_offset", pa.int64()),
        pa.field("tar_size", pa.int64()),
        pa.field("num_samples", pa.int64()),
        pa.field("sha256", pa.string()),
    ]
)

#: One row per clip. `tar` to `sha256` are the clip's own (of a join: the first member's); `end_ms`, `duration_ms`,
#: `num_samples` and `audio_bytes` are the whole join's. `duration_ms` is that of the samples that are there.
VIEW = pa.schema(
    [
        *fields("clip_id", "source_id", "unit_id", "row", "start_ms", "end_ms"),
        pa.field("duration_ms", pa.int64(), nullable=False),
        *fields("caption", "caption_model", "clap_score", "clap_model", "title", "url", "license"),
        *fields("tar", "tar_member", "tar_offset", "tar_size", "codec", "sample_rate_hz", "num_samples", "sha256"),
        pa.field("audio_bytes", pa.int64()),
        pa.field("members", pa.list_(MEMBER)),
    ]
)

Ints = npt.NDArray[np.int64]

_ROW_GROUP = 131_072
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

#: Columns that the corpus may lack; the view then has nulls.
_OWN = {"duration_ms", "audio_bytes", "members"}
_JOIN = ("joined_end_ms", "merged_into")


class ViewError(Exception):
    """A view that cannot be made or read; the message says what to do."""


@dataclass(frozen=True)
class Preset:
    """One of the paper's subsets. `subset` names the threshold, `min_duration_s` is exclusive."""

    subset: str
    min_duration_s: float | None = None


PRESETS: dict[str, Preset] = {
    "AutoReCapXL": Preset("AutoReCapXL"),
    "MQ": Preset("MQ"),
    "MQ-L": Preset("MQ", min_duration_s=5.0),
    "HQ": Preset("HQ"),
}

#: The paper's thresholds, made for LAION's CLAP. Another scorer's numbers mean something else.
PAPER_THRESHOLDS: dict[str, float] = {"AutoReCapXL": 0.1, "MQ": 0.4, "HQ": 0.5}


@dataclass(frozen=True, kw_only=True)
class Query:
    """What a view keeps. All conditions hold at once; `thresholds` is what a preset came to, by scorer."""

    preset: str | None = None
    clap_min: float | None = None
    min_duration_s: float | None = None
    where: str | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    keep: Sequence[str] = ()


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
) -> View:
    """Make (or make anew) the view `name` over the compacted columns of `legs`, root leg first.

    `clap_min` keeps scores from it up, `min_duration_s` clips longer than it; `where` is a filter
    (corpus/expression.py); `preset` one of PRESETS, with `thresholds[clap_model][subset]` where a scorer has its
    own, the paper's otherwise. `keep` names further columns that the view, and then each exported record, carries.
    """
    _check_name(name)
    known = corpus_schema(store, legs)
    query = _query(store, legs, known, where, clap_min, min_duration_s, preset, thresholds or {}, keep)
    wanted = _Wanted(known, query)
    counts = _Counts()

    def write(file: BinaryIO) -> None:
        schema = wanted.schema.with_metadata({"autorecap.query": _canonical(_plain(query))})
        with pq.ParquetWriter(file, schema, compression="zstd") as writer:
            for group in _ahead(_regrouped(_kept(store, legs, wanted, counts), _ROW_GROUP)):
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
        "corpus": {leg: _compacted_names(store, leg) for leg in legs},
    }
    store.replace(summary_path(name), (json.dumps(summary, indent=2, ensure_ascii=False) + "\n").encode())
    return View(store, name, summary)


def corpus_schema(store: Store, legs: Sequence[str]) -> pa.Schema:
    """The columns that the compacted files of `legs` have together, without those a view computes."""
    columns: dict[str, pa.Field] = {}
    for leg in legs:
        names = _compacted_names(store, leg)
        if not names:
            raise ViewError(f"leg {leg!r} of {store.root} has committed nothing yet; start with autorecap run")
        with store.open(f"{compact.compacted_folder(leg)}/{names[0]}") as file:
            columns |= {typed.name: typed for typed in pq.ParquetFile(file).schema_arrow}
    return pa.schema([typed for name, typed in columns.items() if name not in TRANSIENT.names])


def clap_models(store: Store, legs: Sequence[str]) -> list[str]:
    """Every scorer whose scores the corpus holds, from the files' statistics where they tell."""
    found: set[str] = set()
    for leg in legs:
        for name in _compacted_names(store, leg):
            with store.open(f"{compact.compacted_folder(leg)}/{name}") as file:
                found |= _distinct(pq.ParquetFile(file), "clap_model")
    return sorted(found)


def _distinct(parquet: pq.ParquetFile, column: str) -> set[str]:
    at = parquet.schema_arrow.get_field_index(column)
    if at < 0:
        return set()
    at = parquet.schema.names.index(column)  # of the leaf columns: lists come before or after
    found: set[str] = set()
    for group in range(parquet.num_row_groups):
        statistics = parquet.metadata.row_group(group).column(at).statistics
        if statistics is not None and statistics.has_min_max and statistics.min == statistics.max:
            found.add(str(statistics.min))
        else:
            values = parquet.read_row_group(group, columns=[column]).column(0)
            found |= {value for value in pc.unique(values).to_pylist() if value is not None}
    return found


# The query.


def _query(
    store: Store,
    legs: Sequence[str],
    known: pa.Schema,
    where: str | None,
    clap_min: float | None,
    min_duration_s: float | None,
    preset: str | None,
    thresholds: Mapping[str, Mapping[str, float]],
    keep: Sequence[str],
) -> Query:
    if preset is not None and preset not in PRESETS:
        raise ViewError(f"there is no preset {preset!r}; there are {', '.join(PRESETS)}")
    if preset is not None and clap_min is not None:
        raise ViewError("a preset has its own CLAP threshold: give either --preset or --clap-min")
    for column in keep:
        if column not in known.names or pa.types.is_nested(known.field(column).type):
            raise ViewError(f"column {column!r} cannot be kept; the corpus has {', '.join(known.names)}")
    found: dict[str, float] = {}
    if preset is not None or clap_min is not None:
        models = clap_models(store, legs) if "clap_score" in known.names else []
        if not models:
            raise ViewError("no clip has a CLAP score yet: a preset or --clap-min needs a leg that scores")
        if preset is not None:
            subset = PRESETS[preset].subset
            found = {model: thresholds.get(model, PAPER_THRESHOLDS)[subset] for model in models}
            min_duration_s = max(filter(None, (min_duration_s, PRESETS[preset].min_duration_s)), default=None)
        elif len(models) > 1 and "clap_model" not in (where or ""):
            raise ViewError(
                f"the corpus holds scores of {len(models)} models ({', '.join(models)}), which cannot be compared: "
                f"say which, e.g. --where \"clap_model == '{models[0]}'\""
            )
    return Query(
        preset=preset,
        clap_min=clap_min,
        min_duration_s=min_duration_s,
        where=where.strip() if where and where.strip() else None,
        thresholds=found,
        keep=tuple(dict.fromkeys(column for column in keep if column not in VIEW.names)),
    )


class _Wanted:
    """Which columns to read, how to filter them, and what the view will look like."""

    def __init__(self, known: pa.Schema, query: Query) -> None:
        self.schema = pa.schema([*VIEW, *(known.field(name).with_nullable(True) for name in query.keep)])
        seen = pa.schema([*(typed for typed in known if typed.name != "duration_ms"), VIEW.field("duration_ms")])
        where = parse(query.where, seen) if query.where else None
        self.joins = all(name in known.names for name in _JOIN)
        columns = {name for name in self.schema.names if name in known.names and name not in _OWN}
        columns |= {"outcome"} | (set(_JOIN) if self.joins else set())
        columns |= set(where.columns) - {"duration_ms"} if where else set()
        self.columns = sorted(columns)
        #: The columns that decide whether a clip is kept.
        self.decides = {"outcome", "duration_ms", "clap_score", "clap_model"} | (where.columns if where else set())
        self.condition = _condition(query, where)


def _condition(query: Query, where: Filter | None) -> Any:
    """Everything that must hold, as one Arrow expression; None when all clips are kept."""
    parts = []
    if query.thresholds:
        by_model = [
            (pc.field("clap_model") == model) & _at_least(threshold) for model, threshold in query.thresholds.items()
        ]
        joined = by_model[0]
        for part in by_model[1:]:
            joined = joined | part
        parts.append(joined)
    if query.clap_min is not None:
        parts.append(_at_least(query.clap_min))
    if query.min_duration_s is not None:
        parts.append(pc.field("duration_ms") > round(query.min_duration_s * 1000))
    if where is not None:
        parts.append(where.expression)
    condition = None
    for part in parts:
        condition = part if condition is None else condition & part
    return condition


def _at_least(threshold: float) -> Any:
    """Scores are single precision: 0.4 must mean the stored 0.4."""
    return pc.field("clap_score") >= pc.scalar(threshold).cast(pa.float32())


# From the corpus to the view.


def _kept(store: Store, legs: Sequence[str], wanted: _Wanted, counts: _Counts) -> Iterator[pa.Table]:
    for table in _whole_units(compact.scan(store, legs, wanted.columns), wanted.joins):
        rows = _view_rows(table, wanted)
        if rows.num_rows:
            counts.add(rows)
            yield rows


def _whole_units(batches: Iterator[pa.RecordBatch], needed: bool) -> Iterator[pa.Table]:
    """The batches as tables; where joins are to be put together, no unit is torn between two of them."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        if not needed:
            yield pa.table(batch)
            continue
        units = batch.column(batch.schema.get_field_index("unit_id"))
        cut = pc.index(units, units[-1]).as_py() if len(units) else 0
        if cut:
            yield pa.Table.from_batches([*waiting, batch.slice(0, cut)])
            waiting = []
        waiting.append(batch.slice(cut))
    if waiting:
        yield pa.Table.from_batches(waiting)


def _view_rows(table: pa.Table, wanted: _Wanted) -> pa.Table:
    """The clips of whole units that the query keeps, as rows of the view.

    The condition is decided on the few columns that it reads; the many others are copied for kept rows only.
    """
    joins = _Joins(table) if wanted.joins and table.column("joined_end_ms").null_count < table.num_rows else None
    samples = _column(table, "num_samples", pa.int64())
    sizes = _column(table, "tar_size", pa.int64())
    if joins is not None:
        samples, sizes = joins.summed(samples), joins.summed(sizes)
        table = _set(table, "end_ms", pc.coalesce(table.column("joined_end_ms"), table.column("end_ms")))
    table = _set(table, "duration_ms", _duration_ms(table, samples))
    kept = _kept_positions(table, wanted)
    table = _set(_set(table, "num_samples", samples), "audio_bytes", sizes)
    mask = np.zeros(table.num_rows, dtype=bool)
    mask[kept] = True
    rows = table.select([name for name in table.column_names if name in wanted.schema.names]).filter(mask)
    if joins is not None:
        rows = _set(rows, "members", joins.members(kept))
    return pa.table([_column(rows, typed.name, typed.type) for typed in wanted.schema], schema=wanted.schema)


def _kept_positions(table: pa.Table, wanted: _Wanted) -> Ints:
    condition = pc.field("outcome") == "ok"
    if wanted.condition is not None:
        condition = condition & wanted.condition
    narrow = table.select([name for name in table.column_names if name in wanted.decides])
    numbered = narrow.append_column("position", pa.array(np.arange(table.num_rows)))
    return numbered.filter(condition).column("position").to_numpy()  # type: ignore[no-any-return]


class _Joins:
    """The joins in a table of whole units: which rows are members of which first clip."""

    def __init__(self, table: pa.Table) -> None:
        ok = pc.fill_null(pc.equal(table.column("outcome"), "ok"), False)
        heads = np.flatnonzero(pc.and_(ok, table.column("joined_end_ms").is_valid()).to_numpy())
        merged_into = table.column("merged_into")
        merged = np.flatnonzero(merged_into.is_valid().to_numpy())
        head_ids = _one_array(table.column("clip_id").take(pa.array(heads)))
        into = pc.fill_null(pc.index_in(merged_into.take(pa.array(merged)), value_set=head_ids), -1).to_numpy()
        rows = np.concatenate([heads, merged[into >= 0]])
        group = np.concatenate([np.arange(len(heads)), into[into >= 0]])
        order = np.lexsort((rows, group))  # rows of a unit stand in time order
        self._table, self._heads = table, heads
        self._rows, self._group = rows[order], group[order]

    def members(self, kept: Ints) -> pa.Array:
        """The `members` column of the rows at `kept`: null where a clip is no join."""
        place = np.searchsorted(kept, self._heads)
        is_kept = (place < len(kept)) & (np.append(kept, -1)[place] == self._heads)
        lengths = np.zeros(len(kept), dtype=np.int64)
        lengths[place[is_kept]] = np.bincount(self._group, minlength=len(self._heads))[is_kept]
        taken = self._table.take(pa.array(self._rows[is_kept[self._group]]))
        columns = [_one_array(_column(taken, typed.name, typed.type)) for typed in MEMBER]
        values = pa.StructArray.from_arrays(columns, fields=list(MEMBER))
        offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
        return pa.ListArray.from_arrays(offsets, values, type=VIEW.field("members").type, mask=pa.array(lengths == 0))

    def summed(self, own: Any) -> pa.Array:
        """`own` with the first clips' values replaced by the sum over their members; null if one has none."""
        whole = _one_array(own)
        values = whole.take(pa.array(self._rows))
        lost = np.bincount(self._group, weights=pc.is_null(values).to_numpy(False), minlength=len(self._heads)) > 0
        total = np.zeros(len(self._heads), dtype=np.int64)
        np.add.at(total, self._group, pc.fill_null(values, 0).to_numpy())
        mask = np.zeros(len(whole), dtype=bool)
        mask[self._heads] = True
        return pc.replace_with_mask(whole, pa.array(mask), pa.array(total, mask=lost))


def _duration_ms(rows: pa.Table, samples: Any) -> Any:
    """Of the samples that are there; of the planned span where no audio was cut."""
    rate = pc.cast(_column(rows, "sample_rate_hz", pa.int32()), pa.int64())
    measured = pc.divide(pc.add(pc.multiply(samples, 1000), pc.divide(rate, 2)), rate)
    return pc.coalesce(measured, pc.subtract(rows.column("end_ms"), rows.column("start_ms")))


def _column(rows: pa.Table, name: str, type_: pa.DataType) -> Any:
    """A column, or nulls where the corpus has none."""
    return rows.column(name).cast(type_) if name in rows.column_names else pa.nulls(rows.num_rows, type_)


def _one_array(column: Any) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _set(rows: pa.Table, name: str, values: Any) -> pa.Table:
    at = rows.schema.get_field_index(name)
    return rows.set_column(at, name, values) if at >= 0 else rows.append_column(name, values)


def _regrouped(tables: Iterator[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Tables of exactly `rows` rows (the last may be shorter): bytes do not depend on how the corpus was batched."""
    waiting: list[pa.Table] = []
    count = 0
    for table in tables:
        waiting.append(table)
        count += table.num_rows
        while count >= rows:
            joined = pa.concat_tables(waiting)
            yield joined.slice(0, rows).combine_chunks()
            waiting = [joined.slice(rows)]
            count -= rows
    if count:
        yield pa.concat_tables(waiting).combine_chunks()


def _ahead(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The tables, the next one made in a second thread while the caller writes this one."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, tables, None)
        while (table := coming.result()) is not None:
            coming = pool.submit(next, tables, None)
            yield table


class _Counts:
    """Sums over the kept clips, batch by batch."""

    def __init__(self) -> None:
        self.clips = self.milliseconds = self.sources = self.joined = self.without_caption = self.audio_bytes = 0
        self._models: set[str] = set()
        self._last_source: str | None = None

    def add(self, rows: pa.Table) -> None:
        self.clips += rows.num_rows
        self.milliseconds += pc.sum(rows.column("duration_ms")).as_py()
        self.audio_bytes += pc.sum(rows.column("audio_bytes")).as_py() or 0
        self.joined += rows.num_rows - rows.column("members").null_count
        self.without_caption += pc.sum(pc.equal(pc.fill_null(rows.column("caption"), ""), "")).as_py()
        self._models |= {model for model in pc.unique(rows.column("clap_model")).to_pylist() if model is not None}
        self._add_sources(_one_array(rows.column("source_id")))

    def _add_sources(self, ids: pa.Array) -> None:
        """A source's clips stand together in plan order: changes are counted, no set of millions is kept."""
        changes = pc.sum(pc.not_equal(ids.slice(1), ids.slice(0, len(ids) - 1))).as_py() or 0
        self.sources += changes + (ids[0].as_py() != self._last_source)
        self._last_source = ids[-1].as_py()

    def as_json(self) -> dict[str, Any]:
        return {
            "clips": self.clips,
            "hours": round(self.milliseconds / 3_600_000, 6),
            "sources": self.sources,
            "joined": self.joined,
            "without_caption": self.without_caption,
            "audio_bytes": self.audio_bytes,
            "clap_models": sorted(self._models),
        }


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ViewError(f"{name!r} cannot be a view's name: letters, digits, - and _ only, up to 64")


def _compacted_names(store: Store, leg: str) -> list[str]:
    names: list[str] = []
    with suppress(FileNotFoundError):
        names = [path.rsplit("/", 1)[1] for path in store.list(compact.compacted_folder(leg))]
    return [name for name in names if name.endswith(".parquet")]


def _plain(query: Query) -> dict[str, Any]:
    return {**asdict(query), "thresholds": dict(query.thresholds), "keep": list(query.keep)}


def _canonical(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
