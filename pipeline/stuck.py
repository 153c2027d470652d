"""An alarm when nothing comes: which units are in hand, at which stage and since when.

    with NoProgress(600, lambda: in_hand(run_root, waiting)) as alarm:
        for row in ...:
            alarm.heard()

It tells, and never ends anything: a site may have asked for an hour's pause. What workers are at is read from the
crumbs that they leave on their nodes (pipeline/watchdog.py), by a small task on each node, when the alarm goes off
and only then; a worker whose native code holds Python's lock is seen like any other.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable
from types import TracebackType
from typing import NamedTuple

from pipeline.nodes import ask_nodes
from pipeline.progress import clock_text
from pipeline.watchdog import Step, crumbs, is_alive, read_crumb

log = logging.getLogger(__name__)

#: Lines of one alarm.
MOST_LINES = 20


class InHand(NamedTuple):
    """What one worker is at."""

    node: str
    steps: list[Step]


class NoProgress:
    """Calls `look` for lines and tells them, whenever `limit_s` pass without `heard()`."""

    def __init__(
        self, limit_s: float, look: Callable[[], list[str]], tell: Callable[[str], None] | None = None
    ) -> None:
        self._limit_s, self._look = limit_s, look
        self._tell = tell or _tell
        self._heard_s = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._wait, name="no-progress", daemon=True)

    def heard(self) -> None:
        """A unit is done."""
        self._heard_s = time.monotonic()

    def __enter__(self) -> NoProgress:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()

    def _wait(self) -> None:
        told_s = self._heard_s
        while not self._over.wait(max(max(told_s, self._heard_s) + self._limit_s - time.monotonic(), 0.01)):
            if time.monotonic() < max(told_s, self._heard_s) + self._limit_s:
                continue
            told_s = time.monotonic()
            try:
                lines = self._look()
            except Exception as error:  # noqa: BLE001  an alarm that cannot see is still an alarm
                lines = [f"what the workers are at cannot be seen: {type(error).__name__}: {error}"]
            if not self._over.is_set():
                self._tell("\n  ".join([f"no unit is done since {clock_text(told_s - self._heard_s)}:", *lines]))


def _tell(text: str) -> None:
    log.warning("%s", text)
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def lines_of(found: Iterable[InHand], waiting: Collection[str], now_s: float) -> list[str]:
    """A line for each worker that is at something, those that have been at it longest first."""
    at_work = sorted((hand for hand in found if hand.steps), key=lambda hand: hand.steps[0].since_s)
    lines = [_line(hand, now_s) for hand in at_work[:MOST_LINES]]
    if more := at_work[MOST_LINES:]:
        lines.append(f"and {len(more)} workers more")
    named = {step.subject for hand in at_work for step in hand.steps}
    queued = sorted(set(waiting) - named)
    if queued:
        lines.append(f"{len(queued)} units are with no worker now, {queued[0]} is the first")
    return lines


def _line(hand: InHand, now_s: float) -> str:
    said = [
        f"{step.what}{f' of {step.subject}' if step.subject else ''} for {clock_text(now_s - step.since_s)}"
        for step in hand.steps
    ]
    return f"node {hand.node}: {', in it '.join(said)}"


def on_this_node(run_root: str) -> list[list[Step]]:
    """The open steps of every worker of the run on this machine."""
    return [steps for path in sorted(crumbs(run_root).glob("*")) if is_alive(path) and (steps := read_crumb(path))]


def in_hand(run_root: str, waiting: Collection[str]) -> list[str]:
    """What the workers of all nodes are at."""
    answers, late = ask_nodes(on_this_node, run_root)
    found = [InHand(node.address, steps) for node, workers in answers.items() for steps in workers]
    return [*lines_of(found, waiting, time.time()), *(f"node {node.address} does not answer" for node in late)]
