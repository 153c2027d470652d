"""Packing sources into units: whole where they fit, in order, nothing lost."""

from __future__ import annotations

import random

import pytest

from corpus.schema import PLAN, SOURCES
from pipeline.plan_source import PlannedSource, to_planned
from pipeline.plan_units import pack, part_tables
from pipeline.sources.entry import SourceEntry


def source(name: str, clips: int) -> PlannedSource:
    return PlannedSource(
        entry=SourceEntry(source_key=name, kind="url", location=f"http://127.0.0.1/{name}"),
        outcome="planned" if clips else "ended",
        reason=None if clips else "no_gaps",
        texts={"title": f"Title of {name}"},
        media="{}",
        spans_ms=[(at * 1000, at * 1000 + 1000) for at in range(clips)],
    )


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([3, 5], [8]),
        ([5, 5, 3], [5, 8]),
        ([2, 20, 3], [2, 8, 8, 7]),
        ([0, 0], []),
        ([8, 8], [8, 8]),
    ],
)
def test_sizes_of_units(sizes: list[int], expected: list[int]):
    assert pack(sizes, 8) == expected


@pytest.mark.parametrize("seed", range(40))
def test_what_holds_for_any_part(seed: int):
    draw = random.Random(seed)
    unit_clips = draw.randint(1, 12)
    planned = [source(f"s{at}", draw.randint(0, 30)) for at in range(draw.randint(0, 30))]
    clips, sources = part_tables("00007", to_planned(planned), unit_clips)
    assert clips.schema == PLAN
    assert sources.schema == SOURCES
    assert sources.num_rows == len(planned)
    rows = clips.to_pylist()
    assert [(r["source_key"], r["start_ms"]) for r in rows] == [
        (s.entry.source_key, start) for s in planned for start, _ in s.spans_ms
    ]
    assert len({r["clip_id"] for r in rows}) == len(rows)
    units: dict[str, list[dict]] = {}
    for row in rows:
        units.setdefault(row["unit_id"], []).append(row)
    assert list(units) == [f"00007-{number:05d}" for number in range(len(units))]
    for members in units.values():
        assert [row["row"] for row in members] == list(range(len(members)))
        assert len(members) <= unit_clips
    for item in planned:
        held = sorted({r["unit_id"] for r in rows if r["source_key"] == item.entry.source_key})
        assert all(r["source_units"] == len(held) for r in rows if r["source_key"] == item.entry.source_key)
        if 0 < len(item.spans_ms) <= unit_clips:
            assert len(held) == 1
        numbers = [int(unit.split("-")[1]) for unit in held]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else True
    by_key = {r["source_key"]: r for r in sources.to_pylist()}
    assert all(by_key[s.entry.source_key]["clips"] == len(s.spans_ms) for s in planned)
