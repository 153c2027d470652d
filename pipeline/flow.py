"""Units through a leg's steps, on Ray's tasks and actors: what is sent when, and how much of it is on the way.

    for unit_id, made, error in flow([TaskStep(...), PoolStep(...), TaskStep(...)], unit_ids, lambda: 8):
        ...                                  # what the last step said of the unit, or the error it was lost with

A unit's table goes from step to step as a reference: the driver never holds one. What is nearest to its end goes
first, and a unit is begun only when there is room, so that blocks in flight are few: twice as many tasks as can run,
and three units for each member of a pool. Ray tries again what a dying worker took with it; a unit whose table went
with its node is begun anew.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

#: Units that are sent to each task slot and to each actor: one is worked, the next one waits there.
AHEAD = 2
#: Units for which a member of a pool makes room: those ahead of it, and one that comes or goes.
PER_ACTOR = AHEAD + 1
#: How often a unit is begun anew when its table was lost between two steps.
AGAIN = 2
#: The longest wait for an answer, and how often the cluster is asked for its size.
WAIT_S, SIZE_S = 1.0, 2.0
#: How often it is looked whether an actor has started when nothing else is to be done.
START_S = 0.05


class Step(Protocol):
    """Where units are sent. `send` gives the reference to what comes of it."""

    def room(self) -> bool: ...
    def send(self, given: Any) -> Any: ...
    def landed(self, answer: Any) -> None: ...
    def stop(self, flying: Sequence[Any]) -> None: ...


class Slots:
    """How many tasks run at a time on the cluster as it is now, and how many have been sent."""

    def __init__(self, needs: Mapping[str, float]) -> None:
        self._needs = {name: amount for name, amount in needs.items() if amount > 0}
        self._slots, self._asked_s = 1, float("-inf")
        self.sent = 0

    def most(self) -> int:
        """Tasks that may be on the way: with those that wait a growing cluster sees that it is needed."""
        import ray

        if time.monotonic() - self._asked_s > SIZE_S:
            has = ray.cluster_resources()
            fits = [has.get(name, 0.0) / amount for name, amount in self._needs.items()] or [has.get("CPU", 1.0)]
            self._slots, self._asked_s = max(1, int(min(fits))), time.monotonic()
        return AHEAD * self._slots


class TaskStep:
    """Tasks of one remote function. `args` go after what is given."""

    def __init__(self, function: Any, args: Sequence[Any], slots: Slots, *, first: bool) -> None:
        self._function, self._args, self._slots, self._first = function, tuple(args), slots, first

    def room(self) -> bool:
        """Later steps go before new units, whose number is bounded by itself."""
        return not self._first or self._slots.sent < self._slots.most()

    def send(self, given: Any) -> Any:
        self._slots.sent += 1
        return self._function.remote(given, *self._args)

    def landed(self, answer: Any) -> None:
        self._slots.sent -= 1

    def stop(self, flying: Sequence[Any]) -> None:
        import ray

        for answer in flying:
            ray.cancel(answer, force=False, recursive=False)


class PoolStep:
    """Actors, each with at most AHEAD units. One for which the cluster has no room yet is sent none: they would wait
    for it while others are idle."""

    def __init__(self, actors: Sequence[Any]) -> None:
        self._actors = list(actors)
        self._sent: dict[int, int] = {}  # by those that have started
        self._starting = {actor.__ray_ready__.remote(): at for at, actor in enumerate(self._actors)}
        self._where: dict[Any, int] = {}

    def room(self) -> bool:
        import ray

        if self._starting:
            starting = list(self._starting)
            for started in ray.wait(starting, num_returns=len(starting), timeout=0, fetch_local=False)[0]:
                self._sent[self._starting.pop(started)] = 0
        return min(self._sent.values(), default=AHEAD) < AHEAD

    def send(self, given: Any) -> Any:
        at = min(self._sent, key=self._sent.__getitem__)
        answer = self._actors[at].work.remote(given)
        self._sent[at] += 1
        self._where[answer] = at
        return answer

    def landed(self, answer: Any) -> None:
        self._sent[self._where.pop(answer)] -= 1

    def stop(self, flying: Sequence[Any]) -> None:
        import ray

        for actor in self._actors:
            ray.kill(actor)


def flow(
    steps: Sequence[Step], unit_ids: Sequence[str], most: Callable[[], int]
) -> Iterator[tuple[str, Any | None, Exception | None]]:
    """(unit, the last step's answer, None) in any order; (unit, None, error) for one that was lost on the way.

    `most()` is how many units may be on the way. The first step is given the unit's id, each other what the one before
    it made. When the caller goes away, what flies is cancelled.
    """
    way = _Way(steps, unit_ids)
    try:
        while way.unfinished():
            way.send(most())
            yield from way.land()
    finally:
        way.stop()


class _Way:
    """Who waits before which step, and what flies."""

    def __init__(self, steps: Sequence[Step], unit_ids: Sequence[str]) -> None:
        self._steps = steps
        self._before: list[deque[tuple[str, Any]]] = [deque() for _ in steps]
        self._before[0].extend((unit_id, unit_id) for unit_id in unit_ids)
        self._flying: dict[Any, tuple[str, int]] = {}
        self._begun_again: Counter[str] = Counter()

    def unfinished(self) -> bool:
        return bool(self._flying) or any(self._before)

    def send(self, most: int) -> None:
        for at in reversed(range(len(self._steps))):
            step, waiting = self._steps[at], self._before[at]
            while waiting and step.room() and (at or self._on_the_way() < most):
                unit_id, given = waiting.popleft()
                self._flying[step.send(given)] = unit_id, at

    def _on_the_way(self) -> int:
        """Units that have been begun and have not ended."""
        return len(self._flying) + sum(len(waiting) for waiting in self._before[1:])

    def land(self) -> Iterator[tuple[str, Any | None, Exception | None]]:
        """Wait for something to land, and take all that has."""
        import ray

        flying = list(self._flying)
        if not flying:  # all wait for the first actor of a pool
            time.sleep(START_S)
            return
        landed, rest = ray.wait(flying, timeout=WAIT_S, fetch_local=False)
        if landed and rest:
            landed += ray.wait(rest, num_returns=len(rest), timeout=0, fetch_local=False)[0]
        for answer in landed:
            unit_id, at = self._flying.pop(answer)
            self._steps[at].landed(answer)
            if at + 1 < len(self._steps):
                self._before[at + 1].append((unit_id, answer))
            else:
                yield from self._end(unit_id, answer)

    def _end(self, unit_id: str, answer: Any) -> Iterator[tuple[str, Any | None, Exception | None]]:
        import ray

        try:
            made = ray.get(answer)
        except ray.exceptions.RayError as error:
            # A step that was given a lost table raises what Ray says of the table.
            told = error.cause if isinstance(error, ray.exceptions.RayTaskError) else error
            own_fault = not isinstance(told, ray.exceptions.RayError)
            if own_fault or self._begun_again[unit_id] == AGAIN:
                yield unit_id, None, error
            else:
                self._begun_again[unit_id] += 1
                self._before[0].append((unit_id, unit_id))
        else:
            yield unit_id, made, None

    def stop(self) -> None:
        """Cancel what flies; does nothing after a good end, when the actors end with their last reference."""
        if not self.unfinished():
            return
        for at, step in enumerate(self._steps):
            with suppress(Exception):  # Ray itself may be what is gone
                step.stop([answer for answer, (_, where) in self._flying.items() if where == at])
        self._flying.clear()
