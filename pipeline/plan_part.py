"""One part of the plan, from its listed entries to its files: the same bytes, whoever makes it.

    done = plan_part(store, "00003", askers, Shape.of(store, recipe), tell=lambda outcomes: ...)

Entries are asked side by side and put back into listed order. URLs whose list gives their clips are not asked.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpus import plan_store
from corpus.store import Store
from pipeline.config import Recipe
from pipeline.config_sources import GIVING_TYPES
from pipeline.plan_asking import Askers, PlanError
from pipeline.plan_source import PlannedSource, given_sources, to_planned
from pipeline.plan_units import part_tables
from pipeline.sources.entry import ENTRIES, from_table

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shape:
    """What all parts of a plan have in common: clips of a unit, and whether they have columns of lists (GIVEN)."""

    unit_clips: int
    given: bool

    @classmethod
    def of(cls, store: Store, recipe: Recipe) -> Shape:
        """As the plan was begun; a new one as its lists are."""
        there = plan_store.planned_parts(store)
        given = (
            plan_store.gives_columns(store, there[0])
            if there
            else any(source.type in GIVING_TYPES for source in recipe.sources)
        )
        return cls(recipe.plan.unit_clips, given)


@dataclass
class Outcomes:
    """What became of some sources of a plan."""

    sources: Counter[str] = field(default_factory=Counter)  # by outcome
    reasons: Counter[str] = field(default_factory=Counter)
    clips: int = 0

    @classmethod
    def of(cls, source: PlannedSource) -> Outcomes:
        reasons = Counter({source.reason: 1}) if source.reason else Counter()
        return cls(Counter({source.outcome: 1}), reasons, len(source.clips))

    def add(self, other: Outcomes) -> None:
        self.sources.update(other.sources)
        self.reasons.update(other.reasons)
        self.clips += other.clips


def plan_part(store: Store, part: str, askers: Askers, shape: Shape, tell: Callable[[Outcomes], None]) -> None:
    """Plan a listed part and put it in place; `tell` hears of its sources as they are answered. Raises PlanError."""
    entries = _entries(store, part)
    planned = _planned(entries, askers, tell)
    try:
        clips, sources = part_tables(part, planned, shape.unit_clips, given=shape.given)
    except ValueError as error:
        raise PlanError(str(error)) from error
    if not plan_store.write_part(store, part, clips, sources):
        raise PlanError(f"part {part} has just been planned by another `plan` of this run: wait for it")
    log.info("part %s: %d sources, %d clips", part, sources.num_rows, clips.num_rows)


def _entries(store: Store, part: str) -> pa.Table:
    """The listed entries. A part that an older version has listed lacks columns."""
    entries = plan_store.read_inputs(store, part)
    for typed in ENTRIES:
        if typed.name not in entries.column_names:
            entries = entries.append_column(typed, pa.nulls(entries.num_rows, typed.type))
    return entries.select(ENTRIES.names)


def _planned(entries: pa.Table, askers: Askers, tell: Callable[[Outcomes], None]) -> pa.Table:
    is_given = pc.and_(pc.equal(entries.column("kind"), "url"), pc.is_valid(entries.column("clips")))
    given = given_sources(entries.filter(is_given))
    clips = pc.sum(pc.list_value_length(given.column("clips")), min_count=0).as_py()
    tell(Outcomes(Counter({"planned": given.num_rows}), Counter(), clips))
    if given.num_rows == entries.num_rows:
        return given
    others = from_table(entries.filter(pc.invert(is_given)))
    asked = to_planned(askers.ask(others, lambda source: tell(Outcomes.of(source))))
    mask = is_given.to_numpy()
    listed = np.where(mask, np.cumsum(mask) - 1, given.num_rows + np.cumsum(~mask) - 1)
    return pa.concat_tables([given, asked]).take(pa.array(listed))
