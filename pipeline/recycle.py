"""Workers that have grown too large are replaced: native libraries leak, and a run lasts weeks.

A task's worker ends after its task (Ray's own `max_calls`, reached early); nothing is lost or done again. An actor
ends as it is given its next unit, and Ray, which starts it anew, gives it that unit again.
"""

from __future__ import annotations

import logging
import os
import time
from typing import NoReturn

from pipeline import memory

log = logging.getLogger(__name__)

#: What the worker functions' `max_calls` is set to, so that Ray counts: a number that no worker reaches by itself.
MAX_CALLS = 1 << 30

#: Where the recipe names no limit: this share of the machine among its processors, never less than so much, and only
#: for a worker that has grown to twice what it held after its first unit (large models are not a leak).
SHARE = 0.8
LEAST_BYTES = 2_000_000_000
GROWN = 2.0

#: The time that an actor leaves Ray to send away the last unit's answer.
SENT_S = 0.5


class Wear:
    """Has this process grown too large? Asked after each unit. `limit_mb` None: see SHARE."""

    def __init__(self, limit_mb: float | None) -> None:
        self._given_bytes = None if limit_mb is None else limit_mb * 1e6
        self._first_bytes: int | None = None

    def is_worn(self) -> bool:
        holds = memory.own_bytes()
        if self._given_bytes is not None:
            return holds > self._given_bytes
        if self._first_bytes is None:
            self._first_bytes = holds
        limit = max(SHARE * memory.machine_bytes() / (os.cpu_count() or 1), LEAST_BYTES, GROWN * self._first_bytes)
        return holds > limit


def leave_after_task() -> None:
    """This worker takes no further task. Inside a task of a function with `max_calls` = MAX_CALLS."""
    import ray

    counts = getattr(ray._private.worker.global_worker.function_actor_manager, "_num_task_executions", None)
    if not isinstance(counts, dict):  # Ray keeps its counts elsewhere: rather large than wrong
        log.warning("a worker holds %.0f MB and cannot be replaced with this Ray", memory.own_bytes() / 1e6)
        return
    for function, count in counts.items():
        if isinstance(count, int):
            counts[function] = MAX_CALLS - 1


def leave_actor() -> NoReturn:
    """End an actor's process before it begins with a unit; Ray makes a new one and gives it the unit."""
    time.sleep(SENT_S)
    os._exit(0)
