"""From the corpus to the rows of a view, in batches: joins put together, conditions decided, sums kept.

Rows stream through, so memory does not grow with the corpus; conditions are decided on the few columns that they
read, and the others are copied for kept rows only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from corpus import compact
from corpus.schema import MEMBER, VIEW
from corpus.store import Store
from corpus.view_query import Wanted

Ints = npt.NDArray[np.int64]


def kept_rows(store: Store, legs: Sequence[str], wanted: Wanted, counts: Counts) -> Iterator[pa.Table]:
    for table in whole_units(compact.scan(store, legs, wanted.columns), wanted.joins):
        rows = _view_rows(table, wanted, counts)
        if rows.num_rows:
            counts.add(rows)
            yield rows


def whole_units(batches: Iterator[pa.RecordBatch], needed: bool) -> Iterator[pa.Table]:
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


def _view_rows(table: pa.Table, wanted: Wanted, counts: Counts) -> pa.Table:
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
    kept = _kept_positions(table, wanted, counts)
    table = _set(_set(table, "num_samples", samples), "audio_bytes", sizes)
    mask = np.zeros(table.num_rows, dtype=bool)
    mask[kept] = True
    rows = table.select([name for name in table.column_names if name in wanted.schema.names]).filter(mask)
    if joins is not None:
        rows = _set(rows, "members", joins.members(kept))
    return pa.table([_column(rows, typed.name, typed.type) for typed in wanted.schema], schema=wanted.schema)


def with_durations(table: pa.Table) -> pa.Table:
    """Whole units with the `duration_ms` that a view gives them: of a join, the whole join's."""
    joined = "joined_end_ms" in table.column_names and table.column("joined_end_ms").null_count < table.num_rows
    samples = _column(table, "num_samples", pa.int64())
    if joined:
        samples = _Joins(table).summed(samples)
        table = _set(table, "end_ms", pc.coalesce(table.column("joined_end_ms"), table.column("end_ms")))
    return _set(table, "duration_ms", _duration_ms(table, samples))


def _kept_positions(table: pa.Table, wanted: Wanted, counts: Counts) -> Ints:
    condition = pc.field("outcome") == "ok"
    if wanted.condition is not None:
        condition = condition & wanted.condition
    narrow = table.select([name for name in table.column_names if name in wanted.decides])
    numbered = narrow.append_column("position", pa.array(np.arange(table.num_rows)))
    kept = numbered.filter(condition)
    if wanted.leaves_duplicates_out:
        unique = pc.fill_null(kept.column("dup_keep"), True)
        counts.duplicates_left_out += kept.num_rows - pc.sum(unique, min_count=0).as_py()
        kept = kept.filter(unique)
    return kept.column("position").to_numpy()  # type: ignore[no-any-return]


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


def regrouped(tables: Iterator[pa.Table], rows: int) -> Iterator[pa.Table]:
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


def ahead(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The tables, the next one made in a second thread while the caller writes this one."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, tables, None)
        while (table := coming.result()) is not None:
            coming = pool.submit(next, tables, None)
            yield table


class Counts:
    """Sums over the kept clips, batch by batch."""

    def __init__(self) -> None:
        self.clips = self.milliseconds = self.sources = self.joined = self.without_caption = self.audio_bytes = 0
        self.duplicates_left_out = 0
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
            "duplicates_left_out": self.duplicates_left_out,
            "without_caption": self.without_caption,
            "audio_bytes": self.audio_bytes,
            "clap_models": sorted(self._models),
        }
