"""Count what became of every source and clip of a run, from the columns alone.

A clip's outcome is the last leg's word on it: a clip that `fetch` ended never gets another. Clips of units that a leg
has not committed are pending there. Only three columns of each unit file are read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus import plan_store, units
from corpus.store import Store


@dataclass
class LegCounts:
    """One leg: units and clips committed, outcomes as `outcome/reason` (ok has no reason), audio of what is ok."""

    leg: str
    units_done: int = 0
    clips_done: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    ok_audio_ms: int = 0

    def total(self, outcome: str) -> int:
        return sum(count for name, count in self.outcomes.items() if name.split("/")[0] == outcome)


@dataclass
class Counts:
    """A run in numbers."""

    planned_clips: int
    planned_audio_ms: int
    units: int
    sources: Counter[str]  # "planned", "ended/<reason>", "failed/<reason>"
    legs: list[LegCounts]

    @property
    def last(self) -> LegCounts | None:
        return self.legs[-1] if self.legs else None

    def source_total(self, outcome: str) -> int:
        return sum(count for name, count in self.sources.items() if name.split("/")[0] == outcome)


def count_outcomes(store: Store, legs: Sequence[str]) -> Counts:
    """Count a run's sources, and its clips leg by leg (root leg first)."""
    infos = {info.unit_id: info for info in plan_store.iter_units(store)}
    counts = Counts(
        planned_clips=sum(info.rows for info in infos.values()),
        planned_audio_ms=sum(info.audio_ms for info in infos.values()),
        units=len(infos),
        sources=_count_sources(store),
        legs=[],
    )
    for at, leg in enumerate(legs):
        counts.legs.append(_count_leg(store, leg, set(infos), root=at == 0))
    return counts


def _count_sources(store: Store) -> Counter[str]:
    sources = plan_store.read_sources(store).select(["outcome", "reason"])
    return _tally(sources)


def _tally(rows: pa.Table) -> Counter[str]:
    grouped = rows.group_by(["outcome", "reason"], use_threads=False).aggregate([([], "count_all")])
    found: Counter[str] = Counter()
    for row in grouped.to_pylist():
        found[row["outcome"] + (f"/{row['reason']}" if row["reason"] else "")] += row["count_all"]
    return Counter(dict(sorted(found.items())))


def _count_leg(store: Store, leg: str, planned: set[str], *, root: bool) -> LegCounts:
    done = sorted(units.done_units(store, leg, root=root) & planned)
    result = LegCounts(leg=leg, units_done=len(done))

    def read(unit_id: str) -> tuple[Counter[str], int, int]:
        path = units.root_path(unit_id) if root else units.columns_path(leg, unit_id)
        with store.open(path) as file:
            rows = pq.ParquetFile(file).read(columns=["clip_id", "outcome", "reason"])
        return _tally(rows), rows.num_rows, _ok_audio_ms(rows)

    with ThreadPoolExecutor(8) as pool:
        for outcomes, rows, audio_ms in pool.map(read, done):
            result.outcomes.update(outcomes)
            result.clips_done += rows
            result.ok_audio_ms += audio_ms
    result.outcomes = Counter(dict(sorted(result.outcomes.items())))
    return result


def _ok_audio_ms(rows: pa.Table) -> int:
    """Planned length of the ok clips: the ids end in `_<start_ms>_<end_ms>`."""
    ids = rows.column("clip_id").filter(pc.equal(rows.column("outcome"), "ok"))
    spans = (clip_id.rsplit("_", 2) for clip_id in ids.to_pylist())
    return sum(int(end) - int(start) for _, start, end in spans)
