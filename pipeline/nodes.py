"""Ask every node of the cluster for something that lies on its own disk: a small task on each, which takes no CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")

#: How long nodes may take to answer.
ANSWER_S = 60.0


class Node(NamedTuple):
    node_id: str
    address: str


def nodes() -> list[Node]:
    """Those that are alive."""
    import ray

    return [Node(node["NodeID"], str(node["NodeManagerAddress"])) for node in ray.nodes() if node["Alive"]]


def at(node_id: str, *, soft: bool) -> Any:
    """Ray's word for a place; `soft`: elsewhere, if the node is gone."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node_id, soft=soft)


def ask_nodes(question: Callable[..., T], *given: Any) -> tuple[dict[Node, T], list[Node]]:
    """What each node answers, and those that have not answered in time."""
    import ray

    task = ray.remote(num_cpus=0, max_retries=0)(question)
    asked = {task.options(scheduling_strategy=at(node.node_id, soft=False)).remote(*given): node for node in nodes()}
    ready, late = ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER_S)
    answers: dict[Node, T] = {}
    for ref in ready:
        try:
            answers[asked[ref]] = ray.get(ref)
        except ray.exceptions.RayError:  # it has just gone
            late.append(ref)
    return answers, [asked[ref] for ref in late]
