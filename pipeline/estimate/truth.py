"""After a run: what it came to beside what was estimated, from the logs of all its starts: what was done twice counts.

for line in truth_lines(store, recipe): ...
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from corpus.store import Store
from pipeline.config import Recipe
from pipeline.estimate.shown import hours, size
from pipeline.sites import FILE as SITES_FILE

#: Where `plan` keeps its last estimate. Of the clock and the machine: it lies with the logs.
ESTIMATE_PATH = "logs/estimate.json"


@dataclass
class Truth:
    """Sums over every start. `busy_s` by leg and stage; `clips` by leg, of the units as they were committed."""

    requests: int = 0
    fetched_bytes: float = 0.0
    committed_bytes: int = 0
    clips: Counter[str] = field(default_factory=Counter)
    busy_s: Counter[tuple[str, str]] = field(default_factory=Counter)


def truth_lines(store: Store, recipe: Recipe) -> list[str]:
    """A table of both; nothing where no estimate was made or a leg has units to do."""
    try:
        told = json.loads(store.read(ESTIMATE_PATH))
    except (FileNotFoundError, ValueError):
        return []
    truth = read_truth(store)
    rows = [
        ("fetched", "not known" if told.get("size_unknown") else size(told["bytes"]), size(truth.fetched_bytes)),
        ("on disk", size(told["disk_bytes"]), size(truth.committed_bytes)),
    ]
    if recipe.execution.ray_address is None:  # a cluster's governor counts for whoever else uses the cluster, too
        rows.insert(0, ("requests", f"{told['requests']:,}", f"{truth.requests:,}"))
    for model in told["models"]:
        leg = model["leg"]
        pooled = pool_stages(recipe, leg)
        busy_s = sum(truth.busy_s[leg, stage] / workers for stage, workers in pooled.items())
        if model["hours"] is not None and truth.clips[leg]:
            rate = truth.clips[leg] / busy_s if busy_s else 0.0
            rows.append(
                (
                    f"leg {leg}",
                    f"{hours(model['hours'] * 3600)}, {model['clips_per_s']:.3g} clips/s",
                    f"{hours(busy_s)}, {rate:.3g} clips/s",
                )
            )
    width = max(len(row[1]) for row in rows)
    return ["", "estimate and truth", *(f"  {name:<12}{was:>{width}}   {came}" for name, was, came in rows)]


def pool_stages(recipe: Recipe, leg: str) -> dict[str, int]:
    """The leg's stages that run on a pool of workers, each with their number."""
    from pipeline.chain import build_chain
    from pipeline.legjob import cut_into_groups

    stages = recipe.legs[leg].stages
    groups = cut_into_groups(build_chain(recipe.legs[leg]), [(spec.use, spec.options) for spec in stages])
    return {use: recipe.pool(group.pool).workers for group in groups if group.pool for use, _ in group.stages}


def read_truth(store: Store) -> Truth:
    """Add up what the logs of `run` say."""
    truth = Truth()
    for path in store.list("logs"):
        if path.endswith("-run/units.jsonl"):
            for record in _records(store, path):
                _add(truth, record)
        elif path.endswith(f"-run/{SITES_FILE}"):
            sites = json.loads(store.read(path))["sites"]
            truth.requests += sum(site["requests"] for site in sites.values())
    return truth


def _records(store: Store, path: str) -> Iterator[dict[str, Any]]:
    for line in store.read(path).decode("utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue  # a crash has cut it short
        if isinstance(record, dict):
            yield record


def _add(truth: Truth, record: dict[str, Any]) -> None:
    truth.fetched_bytes += record.get("counts", {}).get("autorecap_fetched_bytes_total", 0.0)
    truth.committed_bytes += record.get("commit_bytes", 0)
    if record["error"] is None:
        truth.clips[record["leg"]] += record["clips"]
    for stage in record["stages"]:
        truth.busy_s[record["leg"], stage["stage"]] += stage["seconds"]
