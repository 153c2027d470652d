"""A place to work units in where a death does no harm: a Ray actor that has the work done by a process of its own.

    driver ─► Trial (actor with the group's resources and interpreter) ─► pipeline/trial_process.py (stages run here)

The actor sees how the process ends: by which signal, past which limit, with how much memory, at which clip. A process
that lives is used again, so that a search through halves opens the stages once for each death.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any

import pyarrow as pa

from pipeline import memory
from pipeline.governor_actor import cluster_governor
from pipeline.guardian import end_group
from pipeline.isolate import OPEN, Clip, Crash, Death
from pipeline.legjob import LegJob
from pipeline.trial_process import GOVERNOR
from pipeline.watchdog import crumbs, forget_crumb, passed_limit, read_crumb
from pipeline.worker import STAGE, live_clips
from stages.governor import Governor

#: How often a process at work is looked at; memory may go fast.
LOOK_EVERY_S = 0.05

#: A process that holds this share of the machine's memory is ended before the machine suffers.
MOST_MEMORY = 0.8

#: SIGKILL comes from the kernel when memory has run out, or from anybody: it is the process's doing above this share.
MUCH_MEMORY = 0.25

#: Signals that native code does not bring upon itself.
FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)

Made = tuple[Death | None, Any]


class Trial:
    """Works units of one group of a leg's stages. Its methods answer with how the process died, or None."""

    def __init__(self, job: LegJob, group: int) -> None:
        self._job, self._group = job, group
        self._process: _Process | None = None

    def read(self, unit_id: str) -> Made:
        """The unit as the leg's first stage sees it."""
        return self._ask("read", unit_id)

    def whole(self, unit: pa.Table, crashed: Mapping[str, Crash]) -> Made:
        """The unit after the group; after the last one it is committed, and a summary row comes."""
        return self._ask("whole", unit, dict(crashed))

    def part(self, unit: pa.Table, clip_ids: Sequence[str], share: float) -> Made:
        """Some of the unit's clips, with a share of the stages' time; nothing is kept."""
        return self._ask("part", unit, list(clip_ids), share)

    def live(self, unit: pa.Table) -> list[Clip]:
        """The unit's clips that have not ended."""
        return live_clips(unit) if "outcome" in unit.column_names else []

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.end()
            self._process = None

    def _ask(self, *request: Any) -> Made:
        if self._process is None:
            self._process = _Process(self._job, self._group)
        death, answer = self._process.ask(request)
        if death is not None:
            self._process = None
        return death, answer


class _Process:
    """The process that runs the stages, from its start to its end."""

    def __init__(self, job: LegJob, group: int) -> None:
        ours, theirs = os.pipe(), os.pipe()
        self._to, self._from = Connection(theirs[1], readable=False), Connection(ours[0], writable=False)
        self._crumb = crumbs(job.run_root) / f"trial-{uuid.uuid4().hex}"
        self._peak_bytes = 0
        self._governor = cluster_governor() or Governor()
        command = [sys.executable, "-m", "pipeline.trial_process", str(theirs[0]), str(ours[1]), str(self._crumb)]
        self._process = subprocess.Popen(
            command,
            pass_fds=(theirs[0], ours[1]),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)},
        )
        os.close(theirs[0])
        os.close(ours[1])
        self._send((job, group))

    def ask(self, request: tuple[Any, ...]) -> Made:
        """The answer to a request, or how the process died over it."""
        self._send(request)
        try:
            while (message := self._next())[0] == GOVERNOR:
                self._send(self._turn(*message[1:]))
            return None, message[1]
        except (EOFError, OSError):
            return self._death(), None

    def _next(self) -> tuple[Any, ...]:
        """The process's next message. EOFError when it has died."""
        while not self._from.poll(LOOK_EVERY_S):
            self._peak_bytes = max(self._peak_bytes, memory.own_bytes(self._process.pid))
            if self._peak_bytes > MOST_MEMORY * memory.machine_bytes():
                end_group(self._process.pid)
        message: tuple[Any, ...] = self._from.recv()
        return message

    def _turn(self, method: str, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """The governor's answer, or the exception that it ends with."""
        try:
            return getattr(self._governor, method)(*given, **named)
        except Exception as error:  # noqa: BLE001  it is raised where it was asked
            return error

    def end(self) -> None:
        end_group(self._process.pid)
        self._process.wait()
        self._to.close()
        self._from.close()
        forget_crumb(self._crumb)

    def _send(self, what: Any) -> None:
        with contextlib.suppress(OSError):  # it is dead: the answer will tell
            self._to.send(what)

    def _death(self) -> Death:
        code = self._process.wait()
        steps = read_crumb(self._crumb)
        limit = passed_limit(self._crumb)
        stage = next((step.what.removeprefix(STAGE) for step in steps if step.what.startswith(STAGE)), OPEN)
        subject = steps[-1].subject if len(steps) > 1 else None
        self.end()
        if limit is not None:
            return Death(stage, f"was ended: {limit.what} took longer than {limit.limit_s:g} s", subject)
        if code >= 0:
            return Death(stage, f"ended itself with exit code {code}", subject)
        if self._peak_bytes > MOST_MEMORY * memory.machine_bytes():
            return Death(stage, f"was ended: it held more than {MOST_MEMORY:.0%} of the machine's memory", subject)
        if -code == signal.SIGKILL and self._peak_bytes > MUCH_MEMORY * memory.machine_bytes():
            return Death(stage, "was ended by SIGKILL: out of memory", subject)
        return Death(stage, f"was ended by {_signal_name(-code)}", subject, outside=-code in FROM_OUTSIDE)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
