"""Joins in a stretch of whole units: which rows are the members of which first clip (its head)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from corpus.narrow import HEAD, duration_ms
from corpus.schema import MEMBER, VIEW

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Joins:
    """`heads` ascending; member k is row `rows[k]` of the join with number `group[k]`, each join's in time order."""

    def __init__(self, heads: Ints, merged: Ints, into: Ints) -> None:
        """Rows `merged` belong to the heads at rows `into`; those whose head is none of `heads` to nothing."""
        place = np.searchsorted(heads, into)
        known = (place < len(heads)) & (np.append(heads, -1)[np.minimum(place, len(heads))] == into)
        rows = np.concatenate([heads, merged[known]])
        group = np.concatenate([np.arange(len(heads)), place[known]])
        order = np.lexsort((rows, group))
        self.heads, self.rows, self.group = heads, rows[order], group[order]

    @staticmethod
    def of_narrow(admitted: Bools, columns: pa.Table) -> Joins:
        """From the columns `joined_end_ms` and HEAD; a head is a row that is `admitted`."""
        heads = np.flatnonzero(admitted & columns.column("joined_end_ms").is_valid().to_numpy())
        merged = np.flatnonzero(columns.column(HEAD).is_valid().to_numpy())
        offsets = columns.column(HEAD).take(pa.array(merged)).to_numpy().astype(np.int64)
        return Joins(heads, merged, merged + offsets)

    @staticmethod
    def of_ids(rows: pa.Table) -> Joins:
        """From `clip_id`, `outcome`, `joined_end_ms` and `merged_into`."""
        ok = pc.fill_null(pc.equal(rows.column("outcome"), "ok"), False)
        heads = np.flatnonzero(pc.and_(ok, rows.column("joined_end_ms").is_valid()).to_numpy())
        merged = np.flatnonzero(rows.column("merged_into").is_valid().to_numpy())
        ids = one_array(rows.column("clip_id"))
        into = pc.index_in(rows.column("merged_into").take(pa.array(merged)), value_set=ids)
        return Joins(heads, merged, pc.fill_null(into, -1).to_numpy().astype(np.int64))

    def sums(self, values: Any) -> pa.Array:
        """For each join the sum over its members, whose values come in the order of `rows`; null if one has none."""
        values = one_array(values)
        lost = np.bincount(self.group, weights=pc.is_null(values).to_numpy(False), minlength=len(self.heads)) > 0
        total = np.zeros(len(self.heads), dtype=np.int64)
        np.add.at(total, self.group, pc.fill_null(values, 0).to_numpy())
        return pa.array(total, mask=lost)

    def members(self, places: Ints, count: int, columns: pa.Table) -> pa.Array:
        """The `members` of `count` clips: null but for the heads, which are at `places`. `columns` are as `rows`."""
        lengths = np.zeros(count, dtype=np.int64)
        lengths[places] = np.bincount(self.group, minlength=len(self.heads))
        fields = [one_array(column(columns, typed.name, typed.type)) for typed in MEMBER]
        values = pa.StructArray.from_arrays(fields, fields=list(MEMBER))
        offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
        return pa.ListArray.from_arrays(offsets, values, type=VIEW.field("members").type, mask=pa.array(lengths == 0))


def replaced(own: Any, places: Ints, values: pa.Array) -> pa.Array:
    """`own` with other values at `places` (ascending)."""
    mask = np.zeros(len(own), dtype=bool)
    mask[places] = True
    return pc.replace_with_mask(one_array(own), pa.array(mask), values)


def with_durations(table: pa.Table) -> pa.Table:
    """Whole units with the `duration_ms` that a view gives them: of a join, the whole join's."""
    joined = "joined_end_ms" in table.column_names and table.column("joined_end_ms").null_count < table.num_rows
    samples = column(table, "num_samples", pa.int64())
    if joined:
        joins = Joins.of_ids(table)
        samples = replaced(samples, joins.heads, joins.sums(samples.take(pa.array(joins.rows))))
        table = put(table, "end_ms", pc.coalesce(table.column("joined_end_ms"), table.column("end_ms")))
    return put(table, "duration_ms", duration_ms(table, samples))


def column(rows: pa.Table, name: str, type_: pa.DataType) -> Any:
    """A column, or nulls where the corpus has none."""
    return rows.column(name).cast(type_) if name in rows.column_names else pa.nulls(rows.num_rows, type_)


def one_array(column: Any) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def put(rows: pa.Table, name: str, values: Any) -> pa.Table:
    at = rows.schema.get_field_index(name)
    return rows.set_column(at, name, values) if at >= 0 else rows.append_column(name, values)
