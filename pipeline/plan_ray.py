"""Parts of the plan asked for by Ray tasks: `plan.on_ray: true`, for lists that take a cluster.

A task plans one part and puts it in place itself, with the same code as a plan without Ray. The driver holds the parts
in flight and their outcomes' counts. A part whose worker dies is tried again; one that is in place is never asked for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from corpus import plan_store
from corpus.store import Store
from pipeline.config import Plan, Recipe
from pipeline.governor_actor import ClusterGovernor, GovernorLost
from pipeline.plan_asking import Askers, PlanError
from pipeline.plan_part import Outcomes, Shape, plan_part
from pipeline.run import ytdlp_options
from stages.ytdlp_options import YtdlpOptions

#: Parts in flight for each task that the cluster has room for: no worker waits for the driver.
_AHEAD = 2

#: The driver listens to signals that often.
_LOOK_S = 1.0


@dataclass(frozen=True)
class PlanJob:
    """Everything a task must know, as plain values."""

    run_root: str
    plan: str  # JSON
    ytdlp: str = field(repr=False)  # JSON; it may hold a password
    shape: Shape


def plan_on_ray(
    recipe: Recipe, store: Store, parts: Sequence[str], shape: Shape, tell: Callable[[Outcomes], None]
) -> None:
    """Plan the parts on the recipe's Ray; `tell` hears of each part when it is in place. Raises PlanError."""
    import ray

    from pipeline.engine import ray_for

    if not parts:
        return
    ray_for(recipe)
    execution = recipe.execution
    job = PlanJob(
        str(store.root),
        recipe.plan.model_dump_json(),
        json.dumps(ytdlp_options(recipe)),
        shape,
    )
    task = ray.remote(_plan_in_task).options(
        num_cpus=execution.cpus_per_task,
        resources=execution.task_resources.get(recipe.root_leg),  # asking sites is for the nodes that fetch
        max_retries=execution.task_retries,
    )
    room = max(1, int(ray.cluster_resources().get("CPU", 1) / execution.cpus_per_task)) * _AHEAD
    left = list(reversed(parts))
    flying: list[Any] = []
    try:
        while left or flying:
            while left and len(flying) < room:
                flying.append(task.remote(job, left.pop()))
            landed, flying = ray.wait(flying, timeout=_LOOK_S)
            for error, outcomes in ray.get(landed):
                if error is not None:
                    raise PlanError(error)
                tell(outcomes)
    except (
        ray.exceptions.WorkerCrashedError,
        ray.exceptions.OutOfMemoryError,
        ray.exceptions.NodeDiedError,
        ray.exceptions.LocalRayletDiedError,
    ) as error:
        raise PlanError(f"a worker that planned a part died again and again: {error}") from error
    finally:
        for part in flying:
            ray.cancel(part, force=True)


def _plan_in_task(job: PlanJob, part: str) -> tuple[str | None, Outcomes]:
    """(what is wrong, the part's outcomes). Tried again after its worker died, it may find the part in place."""
    outcomes = Outcomes()
    store = Store(job.run_root)
    if store.exists(plan_store.sources_path(part)):
        return None, outcomes
    try:
        plan_part(store, part, _askers(job), job.shape, outcomes.add)
    except (PlanError, GovernorLost) as error:
        return str(error), outcomes
    return None, outcomes


@lru_cache(maxsize=1)
def _askers(job: PlanJob) -> Askers:
    """Threads and their yt-dlp objects stay for the life of a worker process; all take turns from one governor."""
    options = YtdlpOptions.from_mapping(json.loads(job.ytdlp))
    return Askers(Plan.model_validate_json(job.plan), options, ClusterGovernor())
