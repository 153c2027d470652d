"""Narrow columns that compaction adds to what the units hold, so that a view is decided without reading a text.

_ok           outcome is ok                                        every leg
_captioned    there is a caption                                   legs that caption
_head         rows from this clip to the one it is merged into     legs that join
_duration_ms  of the samples that are there, else of the span      the root leg
_source       counts the sources of the file, from 0               the root leg
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

OK, CAPTIONED, HEAD, DURATION, SOURCE = "_ok", "_captioned", "_head", "_duration_ms", "_source"

#: Names that begin so belong to compaction.
PREFIX = "_"

#: What the duration of a clip is computed from.
MEASURED_BY = ("num_samples", "sample_rate_hz", "start_ms", "end_ms")


class Narrow:
    """Adds the columns to a leg's rows, which come in whole units and plan order."""

    def __init__(self, *, root: bool) -> None:
        self._root = root
        self._source = -1
        self._last_source: str | None = None

    def beside(self, rows: pa.Table) -> pa.Table:
        ok = pc.fill_null(pc.equal(rows.column("outcome"), "ok"), False)
        rows = rows.append_column(OK, ok)
        if "caption" in rows.column_names:
            rows = rows.append_column(CAPTIONED, pc.not_equal(pc.fill_null(rows.column("caption"), ""), ""))
        if "merged_into" in rows.column_names:
            rows = rows.append_column(HEAD, _heads(rows))
        if self._root:
            rows = rows.append_column(DURATION, pc.cast(_durations(rows), pa.int64()))
            rows = rows.append_column(SOURCE, pa.array(self._sources(rows), pa.int32()))
        return rows

    def _sources(self, rows: pa.Table) -> npt.NDArray[np.int64]:
        ids = rows.column("source_id").combine_chunks()
        changes = np.ones(len(ids), dtype=np.int64)
        changes[1:] = pc.not_equal(ids.slice(1), ids.slice(0, len(ids) - 1)).to_numpy(zero_copy_only=False)
        changes[0] = ids[0].as_py() != self._last_source
        numbers = self._source + np.cumsum(changes)
        self._source, self._last_source = int(numbers[-1]), ids[-1].as_py()
        return numbers


def duration_ms(rows: pa.Table, samples: object) -> pa.ChunkedArray:
    """Of `samples`, those that are there; of the planned span where no audio was cut."""
    has_rate = "sample_rate_hz" in rows.column_names
    rate = rows.column("sample_rate_hz").cast(pa.int64()) if has_rate else pa.nulls(rows.num_rows, pa.int64())
    measured = pc.divide(pc.add(pc.multiply(samples, 1000), pc.divide(rate, 2)), rate)
    return pc.coalesce(measured, pc.subtract(rows.column("end_ms"), rows.column("start_ms")))


def _durations(rows: pa.Table) -> pa.ChunkedArray:
    has_samples = "num_samples" in rows.column_names
    return duration_ms(rows, rows.column("num_samples") if has_samples else pa.nulls(rows.num_rows, pa.int64()))


def _heads(rows: pa.Table) -> pa.Array:
    """The clip that one is merged into lies in the same unit."""
    into = rows.column("merged_into").combine_chunks()
    merged = np.flatnonzero(into.is_valid().to_numpy(zero_copy_only=False))
    found = pc.index_in(into.take(pa.array(merged)), value_set=rows.column("clip_id").combine_chunks())
    heads = pc.fill_null(found, -1).to_numpy(zero_copy_only=False)
    offsets = np.zeros(rows.num_rows, dtype=np.int32)
    missing = np.ones(rows.num_rows, dtype=bool)
    offsets[merged] = heads - merged
    missing[merged] = heads < 0
    return pa.array(offsets, mask=missing)
