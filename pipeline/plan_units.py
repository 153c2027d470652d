"""Packing a part's planned sources into units of clips, as tables of the plan.

A unit takes whole sources while they fit into `unit_clips`; one that does not fit starts the next unit. A
source longer than a unit fills consecutive units, and its rest shares the last of them with what follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from corpus.schema import PLAN, SOURCE, SOURCES
from pipeline.plan_source import PlannedSource
from stages.transcript import Span

MAX_UNITS = 100_000  # five digits in a unit's id

#: One source's share of one unit.
Share = tuple[PlannedSource, list[Span]]


def pack(planned: Sequence[PlannedSource], unit_clips: int) -> list[list[Share]]:
    """The units of a part, each a list of sources' shares, in the order of the sources."""
    units: list[list[Share]] = []
    room = 0
    for source in planned:
        spans = source.spans_ms
        if len(spans) > room and room < unit_clips:
            room = 0  # whole sources stay together where they fit into a unit of their own
        while spans:
            if room == 0:
                units.append([])
                room = unit_clips
            taken, spans = spans[:room], spans[room:]
            units[-1].append((source, taken))
            room -= len(taken)
    return units


def part_tables(part: str, planned: Sequence[PlannedSource], unit_clips: int) -> tuple[pa.Table, pa.Table]:
    """(clips as PLAN, sources as SOURCES) of a part."""
    units = pack(planned, unit_clips)
    if len(units) > MAX_UNITS:
        raise ValueError(f"part {part} has {len(units)} units; {MAX_UNITS} fit: lower plan.sources_per_part")
    spread: dict[str, list[str]] = {}
    tables = []
    for number, shares in enumerate(units):
        unit_id = f"{part}-{number:05d}"
        for source, _ in shares:
            spread.setdefault(source.entry.source_id, []).append(unit_id)
    for number, shares in enumerate(units):
        tables.append(_unit_table(f"{part}-{number:05d}", shares, spread))
    clips = pa.concat_tables(tables) if tables else PLAN.empty_table()
    rows = [_source_row(source, spread.get(source.entry.source_id, [])) for source in planned]
    return clips, pa.Table.from_pylist(rows, schema=SOURCES)


def _unit_table(unit_id: str, shares: Sequence[Share], spread: dict[str, list[str]]) -> pa.Table:
    rows: list[dict[str, Any]] = []
    for source, spans in shares:
        source_id = source.entry.source_id
        said = _said(source)
        for start_ms, end_ms in spans:
            rows.append(
                {
                    "clip_id": f"{source_id}_{start_ms}_{end_ms}",
                    "source_id": source_id,
                    "source_key": source.entry.source_key,
                    "unit_id": unit_id,
                    "row": len(rows),
                    "start_ms": start_ms,
                    "end_ms": end_ms,
                    **said,
                    "media": source.media,
                    "source_units": len(spread[source_id]),
                }
            )
    return pa.Table.from_pylist(rows, schema=PLAN)


def _source_row(source: PlannedSource, units: Sequence[str]) -> dict[str, Any]:
    return {
        "source_key": source.entry.source_key,
        "source_id": source.entry.source_id,
        **_said(source),
        "duration_ms": source.duration_ms,
        "clips": len(source.spans_ms),
        "first_unit": units[0] if units else None,
        "outcome": source.outcome,
        "reason": source.reason,
        "detail": source.detail,
        "attempt": 0,
    }


def _said(source: PlannedSource) -> dict[str, Any]:
    said = dict.fromkeys(SOURCE.names) | dict(source.texts)
    said["transcript_kind"] = source.transcript_kind
    said["transcript_lang"] = source.transcript_lang
    said["source_meta"] = source.meta
    return said
