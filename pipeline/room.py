"""Is there room on the cluster for what a leg asks for? Ray waits for what is not there, and says nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from pipeline.config import Execution, Pool


def lacking(leg: str, execution: Execution, pools: Iterable[Pool], have: Mapping[str, float]) -> list[str]:
    """A sentence for each resource of which the leg's pools and one task together ask for more than there is.

    `have`: what the nodes that are there have in all, as `ray.cluster_resources()` tells it.
    """
    asked: Counter[str] = Counter({"CPU": execution.cpus_per_task})
    asked.update(execution.task_resources.get(leg, {}))
    for pool in pools:
        each = {"CPU": pool.cpus_per_worker or 0, "GPU": pool.gpus_per_worker or 0, **pool.resources}
        asked.update({name: pool.workers * amount for name, amount in each.items()})
    return [
        f"leg {leg} asks for {name} {amount:g} (its pools and one task), the cluster has {have.get(name, 0):g}: "
        "what finds no room waits for nodes that have it"
        for name, amount in asked.items()
        if amount > have.get(name, 0)
    ]
