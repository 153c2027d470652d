"""Entries by the thousand, as tables of the schema that `plan/inputs` has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
import pyarrow as pa

from pipeline.sources.entry import ENTRIES, GIVEN_CLIP, SourceEntry, to_table
from pipeline.sources.given import Clip

BATCH_ENTRIES = 4096


def in_tables(entries: Iterable[SourceEntry]) -> Iterator[pa.Table]:
    """Entries that come one by one, in tables."""
    left = iter(entries)
    while batch := list(islice(left, BATCH_ENTRIES)):
        yield to_table(batch)


class GivenBatch:
    """Videos with given clips, column by column: a million lines are too many for a row of Python objects each."""

    def __init__(self, *, caption_model: str, clap_model: str) -> None:
        self._models = (caption_model, clap_model)
        self._clear()

    def _clear(self) -> None:
        self._keys: list[str] = []
        self._locations: list[str] = []
        self._counts: list[int] = []
        self._clips: list[Clip] = []

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def num_clips(self) -> int:
        return len(self._clips)

    def add(self, key: str, location: str, clips: Sequence[Clip]) -> None:
        """A video's clips, at least one."""
        self._keys.append(key)
        self._locations.append(location)
        self._counts.append(len(clips))
        self._clips += clips

    def table(self) -> pa.Table:
        """What was added since the last table, as ENTRIES."""
        rows = len(self._keys)
        columns = zip(*self._clips, strict=True)
        values = [pa.array(list(column), typed.type) for column, typed in zip(columns, GIVEN_CLIP, strict=True)]
        offsets = pa.array(np.concatenate([[0], np.cumsum(self._counts)]), pa.int32())
        caption_model, clap_model = self._models
        known = {
            "source_key": pa.array(self._keys, pa.string()),
            "kind": pa.repeat("url", rows),
            "location": pa.array(self._locations, pa.string()),
            "clips": pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays(values, fields=list(GIVEN_CLIP))),
            "caption_model": pa.repeat(caption_model, rows),
            "clap_model": pa.repeat(clap_model, rows),
        }
        self._clear()
        return pa.table([known.get(typed.name, pa.nulls(rows, typed.type)) for typed in ENTRIES], schema=ENTRIES)
