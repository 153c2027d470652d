"""What a recipe's sources would give, told by a sample of them: nothing of the run is read or written.

    facts, asked = sample_sources(recipe, 50)

All lists are read and told apart as for a plan, on this disk; then `sample` of the sources, spread evenly over
them, are asked as a plan asks them, at the recipe's pace.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from corpus import plan_store
from corpus.store import Store
from pipeline.config import Recipe
from pipeline.estimate.facts import HERE, PlanFacts, plan_facts, site_of
from pipeline.plan import PlanProgress, plan_listed
from pipeline.plan_list import Listed, list_sources

SAMPLE = 50


def sample_sources(
    recipe: Recipe, sample: int = SAMPLE, on_progress: Callable[[PlanProgress], None] | None = None
) -> tuple[PlanFacts, int, Listed]:
    """What all sources would be, scaled up; how many of them were asked; and what the lists hold.

    Raises SourceError and PlanError as a plan does.
    """
    with tempfile.TemporaryDirectory(prefix="autorecap-dry-run-") as folder:
        every, asked = Store(str(Path(folder) / "all")), Store(str(Path(folder) / "sample"))
        listed = list_sources(recipe, every, Path(folder))
        chosen = _spread(every, listed.new, sample)
        plan_store.write_inputs(asked, "00000", chosen)
        plan_listed(_by_threads(recipe), asked, on_progress)
        facts = plan_facts(asked).times(listed.new / chosen.num_rows)
        _wait_for(facts, every)
    return facts.with_few_sites(), chosen.num_rows, listed


def _by_threads(recipe: Recipe) -> Recipe:
    """A sample is asked from here: a cluster does not see this disk."""
    return recipe.model_copy(update={"plan": recipe.plan.model_copy(update={"on_ray": False})})


def _spread(store: Store, sources: int, sample: int) -> pa.Table:
    """`sample` listed entries (all, if there are fewer), evenly spaced in listed order."""
    wanted = [at * sources // min(sample, sources) for at in range(min(sample, sources))]
    found, first = [], 0
    for part in plan_store.parts(store):
        entries = plan_store.read_inputs(store, part)
        here = [at - first for at in wanted if first <= at < first + entries.num_rows]
        found.append(entries.take(pa.array(here, pa.int64())))
        first += entries.num_rows
    return pa.concat_tables(found).combine_chunks()


def _wait_for(facts: PlanFacts, store: Store) -> None:
    """Every listed URL is still to be asked."""
    for part in plan_store.parts(store):
        entries = plan_store.read_inputs(store, part, ["kind", "location", "clips"])
        for entry in entries.to_pylist():
            if (site := site_of(entry["kind"], entry["location"])) != HERE and entry["clips"] is None:
                facts.waiting[site] += 1
