"""One wave of units through the Ray graph, and what its units' summary rows say."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.config import Recipe
from pipeline.events import LegEnd, LegStopped, UnitDone
from pipeline.legjob import LegJob
from pipeline.meter import LegMeter
from pipeline.worker import UnitTally

log = logging.getLogger(__name__)

#: A leg stops early when this many units in a row fail: something is wrong with the set-up, not with a clip.
MAX_FAILURES_IN_A_ROW = 10


def work_wave(job: LegJob, recipe: Recipe, rows: Mapping[str, int], end: LegEnd, meter: LegMeter) -> Iterator[UnitDone]:
    """Work the units of `rows` (id -> planned clips), adding to `end` and `meter`. Raises LegStopped."""
    from pipeline.engine import ray_for
    from pipeline.graph import run_wave

    ray_for(recipe)
    meter.hand(len(rows))
    pools = {group.pool: recipe.pool(group.pool) for group in job.groups if group.pool}
    failures = 0
    for row in run_wave(job, list(rows), recipe.execution, pools):
        event = _event(job.leg, row, rows)
        meter.unit(event)
        if event.error is None:
            failures = 0
            end.committed += 1
        else:
            failures += 1
            end.errors.append(event.error)
            log.error("%s", event.error)
        yield event
        if event.tally.stop:
            raise LegStopped(f"leg {job.leg} stopped: {event.tally.stop}")
        if failures >= MAX_FAILURES_IN_A_ROW:
            raise LegStopped(
                f"leg {job.leg} stopped: {failures} units failed one after the other; the last: {event.error}"
            )


def _event(leg: str, row: dict[str, Any], rows: Mapping[str, int]) -> UnitDone:
    tally = UnitTally.from_json(row["tally"])
    for line in tally.warnings:
        log.warning("unit %s: %s", row["unit_id"], line)
    return UnitDone(
        leg=leg,
        unit_id=row["unit_id"],
        clips=rows[row["unit_id"]],
        outcomes=json.loads(row["outcomes"]),
        audio_ms=row["audio_ms"],
        tally=tally,
    )
