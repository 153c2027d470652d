"""The process of a trial: reads, works and commits what it is asked to, one request after the other.

python -m pipeline.trial_process REQUESTS ANSWERS CRUMB        (two inherited pipes; see pipeline/trial.py)
"""

from __future__ import annotations

import ctypes
import signal
import sys
import threading
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pipeline.isolate import COMMIT, READ
from pipeline.legjob import LegJob, commit, read_unit_or_say
from pipeline.watchdog import Watchdog
from pipeline.worker import STAGE, UnitRunner, part_of_unit
from stages.base import Metrics

#: What is sent back: what was asked for, or a question to the governor, whose answer comes next.
ANSWER, GOVERNOR = "answer", "governor"

#: prctl: end this process when the one that started it ends.
PR_SET_PDEATHSIG = 1


class Relay:
    """The cluster's governor, asked through the pipes; for the threads of a stage, one at a time."""

    def __init__(self, asked: Connection, told: Connection) -> None:
        self._asked, self._told = asked, told
        self._lock = threading.Lock()

    def ask(self, *given: Any, **named: Any) -> Any:
        return self._call("ask", given, named)

    def report(self, *given: Any, **named: Any) -> Any:
        return self._call("report", given, named)

    def _call(self, method: str, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        with self._lock:
            self._told.send((GOVERNOR, method, given, named))
            answer = self._asked.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer


class Worker:
    """Stages of one group, opened with the first clips."""

    def __init__(self, job: LegJob, group: int, watch: Watchdog, governor: Relay) -> None:
        self._job, self._watch = job, watch
        self._is_last = group == len(job.groups) - 1
        services = replace(job.services(group), watch=watch, governor=governor, metrics=Metrics())
        self._runner = UnitRunner(job.links(group), services, job.stage_limit_s)

    def answer(self, verb: str, *asked: Any) -> Any:
        """What is sent back. Stages' exceptions travel in the unit's tally."""
        if verb == "read":
            with self._watch(STAGE + READ, asked[0], limit_s=self._job.stage_limit_s):
                return read_unit_or_say(self._job, asked[0])
        if verb == "part":
            unit, clip_ids, share = asked
            self._runner.run(part_of_unit(unit, clip_ids), share=share)
            return None
        unit, crashed = asked
        made = self._runner.run(unit, crashed)
        if not self._is_last:
            return made
        with self._watch(STAGE + COMMIT, limit_s=self._job.stage_limit_s):
            return commit(self._job, made)


def main(requests: str, answers: str, crumb: str) -> None:
    """Until the pipe of requests is closed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    asked, told = Connection(int(requests), writable=False), Connection(int(answers), readable=False)
    job, group = asked.recv()
    worker = Worker(job, group, Watchdog(Path(crumb), keep=True), Relay(asked, told))
    while True:
        try:
            request = asked.recv()
        except EOFError:
            return
        told.send((ANSWER, worker.answer(*request)))


if __name__ == "__main__":
    main(*sys.argv[1:])
