"""The plan: every clip that will be tried, settled before any audio is fetched.

    result = plan(recipe, store, on_progress=print)

First the list (pipeline/plan_list.py): new sources are written as parts of `sources_per_part` entries, duplicates left
out. Then part by part (pipeline/plan_part.py): threads ask sites and file headers, or on a cluster Ray tasks do, and
the part's clips and sources are put in place together, in listed order whatever answered first. A part that is in place
is never asked for again, so a plan goes on where it was stopped; `run` may take it up while others are still planned; a
longer list later adds parts for its new sources only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from corpus import plan_store
from corpus.store import Store
from pipeline.config import Recipe
from pipeline.plan_asking import Askers, PlanError
from pipeline.plan_list import list_sources
from pipeline.plan_part import Outcomes, Shape, plan_part
from pipeline.run import cache_dir
from pipeline.sources import ListReport
from stages.ytdlp_options import YtdlpOptions

__all__ = ["PlanError", "PlanProgress", "PlanResult", "plan"]


@dataclass(frozen=True, kw_only=True)
class PlanProgress:
    """How far this call is: of `sources` to plan, `done` have an outcome."""

    sources: int = 0
    done: int = 0
    planned: int = 0
    ended: int = 0
    failed: int = 0
    clips: int = 0


@dataclass(frozen=True, kw_only=True)
class PlanResult:
    """What this call did. `known` entries were in the plan already; `duplicates` came twice in the list.

    `lists`: of each list that gives clips or has broken lines, what was read and what left out.
    """

    new: int
    known: int
    duplicates: int
    parts: list[str] = field(default_factory=list)
    progress: PlanProgress = field(default_factory=PlanProgress)
    reasons: dict[str, int] = field(default_factory=dict)
    lists: Sequence[ListReport] = ()


OnProgress = Callable[[PlanProgress], None]


def plan(recipe: Recipe, store: Store, *, on_progress: OnProgress | None = None) -> PlanResult:
    """List what is new, then plan every part that is listed and not yet planned.

    Raises SourceError for a list that cannot be read or gives nothing, PlanError for what else the user
    must mend.
    """
    with _memory_given_back():
        listed = list_sources(recipe, store, cache_dir(store, recipe) / ".lists")
        parts, tally = plan_listed(recipe, store, on_progress)
    return PlanResult(
        new=listed.new,
        known=listed.known,
        duplicates=listed.duplicates,
        parts=parts,
        progress=tally.progress,
        reasons=dict(sorted(tally.outcomes.reasons.items())),
        lists=listed.reports,
    )


@contextmanager
def _memory_given_back() -> Iterator[None]:
    """Arrow takes from the C library: its own pool keeps what small tables leave, 80 MB after a million sources."""
    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)


def plan_listed(recipe: Recipe, store: Store, on_progress: OnProgress | None = None) -> tuple[list[str], Tally]:
    """Plan every part that is listed and not yet planned: which they were, and what became of their sources."""
    planned = set(plan_store.planned_parts(store))
    waiting = [part for part in plan_store.parts(store) if part not in planned]
    tally = Tally(sum(plan_store.count_inputs(store, part) for part in waiting), on_progress or (lambda progress: None))
    shape = Shape.of(store, recipe)
    if recipe.plan.on_ray:
        from pipeline.plan_ray import plan_on_ray

        plan_on_ray(recipe, store, waiting, shape, tally.add)
    else:
        with Askers(recipe.plan, YtdlpOptions.from_mapping(recipe.ytdlp.model_dump())) as askers:
            for part in waiting:
                plan_part(store, part, askers, shape, tally.add)
    return waiting, tally


class Tally:
    """Counts outcomes as they come and tells who asked."""

    def __init__(self, sources: int, on_progress: OnProgress) -> None:
        self.outcomes = Outcomes()
        self._sources = sources
        self._on_progress = on_progress
        on_progress(self.progress)

    @property
    def progress(self) -> PlanProgress:
        by_outcome: Any = self.outcomes.sources
        return PlanProgress(
            sources=self._sources, done=by_outcome.total(), clips=self.outcomes.clips, **dict(by_outcome)
        )

    def add(self, outcomes: Outcomes) -> None:
        self.outcomes.add(outcomes)
        if outcomes.sources:
            self._on_progress(self.progress)
