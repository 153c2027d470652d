"""Waves of units, one after the other, until there is nothing left; in follow mode until nothing more can come.

A leg that follows works on what the plan, or the leg before it, has made so far, and waits for more. It never begins
a small wave while more is coming: each wave loads the models anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice

from corpus.plan_store import UnitInfo
from pipeline.todo import Todo

#: Units that make a wave worth its start while more are coming, and how long fewer of them are left waiting.
WORTH_A_WAVE = 64
PATIENCE_S = 120.0

#: How often a leg that waits looks again.
LOOK_EVERY_S = 5.0


@dataclass(frozen=True)
class LegWaits:
    """A leg that follows has nothing to do for now; `text` says what it waits for, `idle_s` since when.

    `given_up`: it has waited as long as it may, and ends.
    """

    leg: str
    text: str
    idle_s: float
    given_up: bool = False


@dataclass
class Waves:
    """`for wave in Waves(todo, size): ...`; items are lists of units, or LegWaits while there are none."""

    todo: Todo
    size: int
    follow: bool = False
    idle_limit_s: float | None = None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def __iter__(self) -> Iterator[list[UnitInfo] | LegWaits]:
        idle_since_s = self.clock()
        while True:
            ready = self.todo.units()
            first = list(islice(ready, WORTH_A_WAVE))
            coming = self._coming() if self.follow and len(first) < WORTH_A_WAVE else None
            idle_s = self.clock() - idle_since_s
            if first and (coming is None or idle_s >= PATIENCE_S):
                yield from self._cut(chain(first, ready))
                idle_since_s = self.clock()
            elif coming is None:
                return
            elif self.idle_limit_s is not None and idle_s >= self.idle_limit_s and not first:
                yield LegWaits(self.todo.leg, f"{coming}; given up waiting", idle_s, given_up=True)
                return
            else:
                yield LegWaits(self.todo.leg, coming, idle_s)
                self.sleep(LOOK_EVERY_S)

    def _cut(self, units: Iterator[UnitInfo]) -> Iterator[list[UnitInfo]]:
        while wave := list(islice(units, self.size)):
            yield wave

    def _coming(self) -> str | None:
        """What there will still be, in words; None when the plan is whole and the leg before has done all of it."""
        if not self.todo.is_listed():
            return "waits for a plan (autorecap plan)"
        if unplanned := self.todo.unplanned_parts():
            return f"waits for {unplanned} parts of the plan (autorecap plan)"
        waiting = sum(len(work.waiting) for work in self.todo.parts())
        after = self.todo.recipe.legs[self.todo.leg].after
        return f"waits for {waiting} units of leg {after} (autorecap run --leg {after})" if waiting else None
