"""Count what became of every source and clip of a run, from the columns alone.

A clip's outcome is the last leg's word on it, of the clip's latest attempt (corpus/latest.py). Clips of units that a
leg has not committed are pending there. Clips that it is to try again are counted as it had left them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import pyarrow as pa
import pyarrow.compute as pc

from corpus import attempts, plan_store, units
from corpus.latest import latest_clips, latest_sources
from corpus.store import Store

#: A file that has no such column is read without it: only a dedup leg has `dup_keep`.
_COLUMNS = ["clip_id", "outcome", "reason", "dup_keep"]


@dataclass
class LegCounts:
    """One leg: units and clips committed, outcomes as `outcome/reason` (ok has no reason), audio of what is ok.

    `duplicates`: how many of the ok clips a dedup leg leaves out; None for any other leg. `retries`: how many are to
    do, with how many clips; the clips are counted in `outcomes` as their last attempt left them.
    """

    leg: str
    units_done: int = 0
    clips_done: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    ok_audio_ms: int = 0
    duplicates: int | None = None
    retries: int = 0
    retried_clips: int = 0

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


def count_outcomes(
    store: Store, legs: Sequence[str], takes_up: Mapping[str, Sequence[str]] = MappingProxyType({})
) -> Counts:
    """Count a run's sources, and its clips leg by leg (root leg first).

    `takes_up`: for each leg those whose retries it takes up, itself the last; a leg that is not there (a job) none.
    """
    infos = {info.unit_id: info for info in plan_store.iter_units(store)}
    counts = Counts(
        planned_clips=sum(info.rows for info in infos.values()),
        planned_audio_ms=sum(info.audio_ms for info in infos.values()),
        units=len(infos),
        sources=_count_sources(store),
        legs=[],
    )
    for at, leg in enumerate(legs):
        counts.legs.append(_count_leg(store, leg, takes_up.get(leg, ()), set(infos), root=at == 0))
    return counts


def _count_sources(store: Store) -> Counter[str]:
    found: Counter[str] = Counter()
    for _, sources in latest_sources(store, ["outcome", "reason"]):
        found.update(_tally(sources))
    return Counter(dict(sorted(found.items())))


def _tally(rows: pa.Table) -> Counter[str]:
    grouped = rows.group_by(["outcome", "reason"], use_threads=False).aggregate([([], "count_all")])
    found: Counter[str] = Counter()
    for row in grouped.to_pylist():
        found[row["outcome"] + (f"/{row['reason']}" if row["reason"] else "")] += row["count_all"]
    return Counter(dict(sorted(found.items())))


def _count_leg(store: Store, leg: str, takes_up: Sequence[str], planned: set[str], *, root: bool) -> LegCounts:
    work = units.done_work(store, leg, root=root)
    done = {unit: numbers for unit, numbers in attempts.attempts_by_unit(work).items() if unit in planned}
    result = LegCounts(leg=leg, units_done=len(done))
    for rows in latest_clips(store, leg, _COLUMNS, root=root, of=done):
        result.outcomes.update(_tally(rows))
        result.clips_done += rows.num_rows
        result.ok_audio_ms += _ok_audio_ms(rows)
        if "dup_keep" in rows.column_names:
            left_out = pc.sum(pc.invert(rows.column("dup_keep")), min_count=0).as_py()
            result.duplicates = (result.duplicates or 0) + left_out
    if takes_up:
        pending = attempts.pending_retries(store, takes_up, done=work)
        result.retries = len(pending)
        result.retried_clips = sum(len(ids) for _, ids in attempts.clips_of(store, pending))
    result.outcomes = Counter(dict(sorted(result.outcomes.items())))
    return result


def _ok_audio_ms(rows: pa.Table) -> int:
    """Planned length of the ok clips: the ids end in `_<start_ms>_<end_ms>`."""
    ids = rows.column("clip_id").filter(pc.equal(rows.column("outcome"), "ok"))
    spans = pc.extract_regex(ids, r"_(?P<start>[0-9]+)_(?P<end>[0-9]+)$")
    start, end = (pc.cast(pc.struct_field(spans, name), pa.int64()) for name in ("start", "end"))
    return int(pc.sum(pc.subtract(end, start)).as_py() or 0)
