"""Count what became of every source and clip of a run, from the columns alone.

A clip's outcome is the last leg's word on it: a clip that `fetch` ended never gets another. Clips of units that a leg
has not committed are pending there. Four columns are read: of the leg's compacted files, and of the unit files that
are in none of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus import compact, plan_store, units
from corpus.store import Store

#: A file that has no such column is read without it: only a dedup leg has `dup_keep`.
_COLUMNS = ["clip_id", "unit_id", "outcome", "reason", "dup_keep"]

#: Units read ahead of the one that is counted.
_AHEAD = 256


@dataclass
class LegCounts:
    """One leg: units and clips committed, outcomes as `outcome/reason` (ok has no reason), audio of what is ok.

    `duplicates`: how many of the ok clips a dedup leg leaves out; None for any other leg.
    """

    leg: str
    units_done: int = 0
    clips_done: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    ok_audio_ms: int = 0
    duplicates: int | None = None

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
    sources = plan_store.read_sources(store, ["outcome", "reason"])
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
    counted: set[str] = set()

    def add(rows: pa.Table) -> None:
        result.outcomes.update(_tally(rows))
        result.clips_done += rows.num_rows
        result.ok_audio_ms += _ok_audio_ms(rows)
        if "dup_keep" in rows.column_names:
            left_out = pc.sum(pc.invert(rows.column("dup_keep")), min_count=0).as_py()
            result.duplicates = (result.duplicates or 0) + left_out

    for rows in _compacted_rows(store, leg):
        counted.update(pc.unique(rows.column("unit_id")).to_pylist())
        add(rows.filter(pc.is_in(rows.column("unit_id"), value_set=pa.array(done, pa.string()))))

    def read(unit_id: str) -> pa.Table:
        return units.read_parquet(store, units.unit_path(leg, unit_id, root=root), columns=_COLUMNS)

    left = [unit_id for unit_id in done if unit_id not in counted]
    with ThreadPoolExecutor(8) as pool:
        for at in range(0, len(left), _AHEAD):
            for rows in pool.map(read, left[at : at + _AHEAD]):
                add(rows)
    result.outcomes = Counter(dict(sorted(result.outcomes.items())))
    return result


def _compacted_rows(store: Store, leg: str) -> Iterator[pa.Table]:
    for file in compact.compacted_files(store, leg):
        with suppress(FileNotFoundError), store.open(file.path) as opened:  # a compaction may just have replaced it
            for batch in pq.ParquetFile(opened).iter_batches(compact.ROW_GROUP_ROWS, columns=_COLUMNS):
                yield pa.Table.from_batches([batch])


def _ok_audio_ms(rows: pa.Table) -> int:
    """Planned length of the ok clips: the ids end in `_<start_ms>_<end_ms>`."""
    ids = rows.column("clip_id").filter(pc.equal(rows.column("outcome"), "ok"))
    spans = pc.extract_regex(ids, r"_(?P<start>[0-9]+)_(?P<end>[0-9]+)$")
    start, end = (pc.cast(pc.struct_field(spans, name), pa.int64()) for name in ("start", "end"))
    return int(pc.sum(pc.subtract(end, start)).as_py() or 0)
