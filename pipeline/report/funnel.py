"""From planned clips to the last leg, stage by stage: how many are left, and what ended the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from corpus.counts import LegCounts
from corpus.groups import scan
from corpus.store import Store

#: What the paper's steps are called; other stages are shown only where they end clips.
NAMES = {"fetch": "fetched", "caption": "captioned", "keywords": "after keywords", "score": "scored"}


@dataclass(frozen=True)
class Ending:
    """Clips that one stage ended for one reason."""

    leg: str
    stage: str
    outcome: str
    reason: str
    clips: int
    hours: float  # of their planned spans


@dataclass(frozen=True)
class Step:
    """A row of the funnel: clips that are left after it. `note` says what a leg has still to do."""

    name: str
    clips: int
    before: int | None = None
    endings: Sequence[Ending] = field(default_factory=tuple)
    note: str = ""

    @property
    def share(self) -> float | None:
        """Of the step before."""
        return self.clips / self.before if self.before else None


@dataclass
class _Tally:
    clips: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # (outcome, reason, stage)
    ms: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    rows: int = 0


def funnel(store: Store, legs: Mapping[str, Mapping[str, Any]], counts: Sequence[LegCounts], units: int) -> list[Step]:
    """One step for each stage that matters of each leg (as recorded, root leg first) that has committed something."""
    steps: list[Step] = []
    tallies: dict[Any, _Tally] = {}
    for leg, counted in zip(legs, counts, strict=True):
        if not counted.units_done:
            continue
        tallies[leg] = _tally(store, leg)
        before = tallies.get(legs[leg].get("after"), _Tally())  # legs may lie side by side
        steps += _leg_steps(leg, legs[leg], tallies[leg], before, units - counted.units_done)
    return steps


def _leg_steps(leg: str, definition: Mapping[str, Any], tally: _Tally, before: _Tally, undone: int) -> list[Step]:
    """What this leg has ended is what was not ended so in the leg before it."""
    own = {key: count - min(count, before.clips[key]) for key, count in tally.clips.items() if key[0] != "ok"}
    endings: dict[str, list[Ending]] = {str(stage.get("use")): [] for stage in definition.get("stages", [])}
    for (outcome, reason, stage), count in sorted(own.items(), key=lambda item: -item[1]):
        if count:
            key = (outcome, reason, stage)
            hours = tally.ms[key] / 3_600_000 * count / tally.clips[key]
            endings.setdefault(stage, []).append(Ending(leg, stage, outcome, reason, count, hours))
    alive = tally.clips["ok", "", ""] + sum(own.values())
    steps = []
    for stage, ended in endings.items():
        if not ended and stage not in NAMES:
            continue
        left = alive - sum(ending.clips for ending in ended)
        steps.append(Step(NAMES.get(stage, f"after {stage or 'unknown'}"), left, alive, ended))
        alive = left
    note = f"{undone} units still to do" if undone else ""
    return [*steps, Step(f"ok after leg {leg}", alive, alive, note=note)]


def _tally(store: Store, leg: str) -> _Tally:
    tally = _Tally()
    for batch in scan(store, [leg], ["clip_id", "outcome", "reason", "stage"]):
        rows = pa.table(batch)
        spans = pc.extract_regex(rows.column("clip_id"), r"_(?P<start>[0-9]+)_(?P<end>[0-9]+)$")
        start, end = (pc.cast(pc.struct_field(spans, name), pa.int64()) for name in ("start", "end"))
        rows = rows.drop_columns(["clip_id"]).append_column("ms", pc.subtract(end, start))
        grouped = rows.group_by(["outcome", "reason", "stage"]).aggregate([("ms", "sum"), ([], "count_all")])
        for row in grouped.to_pylist():
            ok = row["outcome"] == "ok"
            key = ("ok", "", "") if ok else (row["outcome"], row["reason"] or "", row["stage"] or "")
            tally.clips[key] += row["count_all"]
            tally.ms[key] += row["ms_sum"] or 0
        tally.rows += rows.num_rows
    return tally
