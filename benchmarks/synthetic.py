"""Plans without sources, and stages that do nothing: what is left is the cost of the road itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from corpus import plan_store
from corpus.schema import PLAN, SOURCES, fields
from corpus.store import Store
from stages.base import Needs, Services, with_columns

CLIP_MS = 10_000


@dataclass(kw_only=True)
class Nothing:
    """A stage that hands its clips back; `model` puts it on an actor."""

    model: bool = False

    reads: ClassVar[tuple[str, ...]] = ("start_ms",)
    adds: ClassVar[pa.Schema] = pa.schema([])

    def needs(self) -> Needs:
        return Needs(model=self.model)

    def open(self, services: Services) -> None:
        """Nothing to prepare."""

    def run(self, clips: pa.Table) -> pa.Table:
        return clips

    def close(self) -> None:
        """Nothing to give back."""


@dataclass(kw_only=True)
class Bytes(Nothing):
    """Gives every clip a few bytes of "audio", so that tars are written."""

    clip_bytes: int = 64
    adds: ClassVar[pa.Schema] = fields("audio", "codec")

    def run(self, clips: pa.Table) -> pa.Table:
        audio = [clip_id.encode().ljust(self.clip_bytes, b".") for clip_id in clips.column("clip_id").to_pylist()]
        return with_columns(clips, {"audio": audio, "codec": ["flac"] * len(audio)}, self.adds)


def write_plan(store: Store, units: int, clips_per_unit: int, part: str = "00000") -> None:
    """Plan `units` units, one made-up source each."""
    rows, sources = [], []
    for unit in range(units):
        source = f"synth{part}-{unit:05d}"
        unit_id = f"{part}-{unit:05d}"
        sources.append(_source(source, clips_per_unit, unit_id))
        rows += [_clip(source, unit_id, row) for row in range(clips_per_unit)]
    plan_store.write_inputs(store, part, pa.table({"source_key": [row["source_key"] for row in sources]}))
    plan_store.write_part(
        store, part, pa.Table.from_pylist(rows, schema=PLAN), pa.Table.from_pylist(sources, schema=SOURCES)
    )


def _clip(source: str, unit_id: str, row: int) -> dict[str, object]:
    start_ms = row * CLIP_MS
    return {
        "clip_id": f"{source}_{start_ms}_{start_ms + CLIP_MS}",
        "source_id": source,
        "source_key": source,
        "unit_id": unit_id,
        "row": row,
        "start_ms": start_ms,
        "end_ms": start_ms + CLIP_MS,
        "title": f"a title of {source}",
        "media": "{}",
        "source_units": 1,
    }


def _source(source: str, clips: int, unit_id: str) -> dict[str, object]:
    return {
        "source_key": source,
        "source_id": source,
        "clips": clips,
        "first_unit": unit_id,
        "outcome": "planned",
        "attempt": 0,
    }
