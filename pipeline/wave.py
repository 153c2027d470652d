"""One wave of units: through the Ray graph, and those that it lost with their workers one by one.

What the graph does not answer for was lost, or what it says is lost: it killed its worker as often as it may. Such
units are settled (pipeline/settle.py): the clip that kills is found and ends as `crashed`, the others are done.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.config import Recipe, mask_of
from pipeline.events import LegEnd, LegStopped, UnitDone
from pipeline.isolate import SetupFault, Streak
from pipeline.legjob import LegJob
from pipeline.lost import MAX_LOST_IN_A_ROW, TooManyLost
from pipeline.meter import LegMeter
from pipeline.settle import Settling
from pipeline.stuck import NoProgress, in_hand
from pipeline.worker import UnitTally
from stages.secrets import Mask

log = logging.getLogger(__name__)

#: A leg stops early when this many units in a row fail: something is wrong with the set-up, not with a clip.
MAX_FAILURES_IN_A_ROW = 10


def work_wave(job: LegJob, recipe: Recipe, rows: Mapping[str, int], end: LegEnd, meter: LegMeter) -> Iterator[UnitDone]:
    """Work the units of `rows` (id -> planned clips), adding to `end` and `meter`. Raises LegStopped."""
    from pipeline.engine import ray_for, say_what_is_lacking

    ray_for(recipe)
    say_what_is_lacking(recipe, job.leg, [recipe.pool(group.pool) for group in job.groups if group.pool])
    meter.hand(len(rows))
    left = dict(rows)
    mask = mask_of(recipe)
    failures = 0
    with NoProgress(recipe.execution.no_progress_s, lambda: in_hand(job.run_root, list(left))) as alarm:
        for row in _rows(job, recipe, left, meter):
            alarm.heard()
            event = _event(job.leg, row, rows, mask)
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


def _rows(job: LegJob, recipe: Recipe, left: dict[str, int], meter: LegMeter) -> Iterator[dict[str, Any]]:
    """A summary row for each unit of `left`, which is emptied. Raises LegStopped."""
    from pipeline.graph import run_wave

    pools = {group.pool: recipe.pool(group.pool) for group in job.groups if group.pool}
    streak = Streak(recipe.execution.crashes_in_a_row)
    while left:
        given_up: list[str] = []
        try:
            for row in run_wave(job, list(left), recipe.execution, pools):
                if row["lost"]:
                    given_up.append(row["unit_id"])
                elif left.pop(row["unit_id"], None) is not None:
                    streak.sources.clear()
                    yield row
            lost = list(left)
        except TooManyLost as error:
            lost = given_up or list(left)[:MAX_LOST_IN_A_ROW]
            log.warning("%s: %d units are worked by themselves", error, len(lost))
        try:
            with Settling(job, recipe, streak) as settling:
                for unit_id in lost:
                    log.warning("unit %s was lost with its worker: it is worked by itself", unit_id)
                    meter.lost(1)
                    row = settling.settle(unit_id)
                    del left[unit_id]
                    yield row
        except SetupFault as fault:
            raise LegStopped(f"leg {job.leg} stopped: {fault}") from fault


def _event(leg: str, row: dict[str, Any], rows: Mapping[str, int], mask: Mask) -> UnitDone:
    """What a unit came to. Whatever a stage has raised may hold a secret of the recipe: here nobody has seen it yet."""
    tally = UnitTally.from_json(row["tally"])
    tally.error, tally.stop = tally.error and mask(tally.error), tally.stop and mask(tally.stop)
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
