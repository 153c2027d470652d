"""What a worker is doing, and until when: written where its guardian, and whoever asks, can read it.

    watch = process_watch(run_root)
    with watch("stage cut", "00000-00003", limit_s=3600.0):
        with watch("decode", clip_id, limit_s=60.0):
            ...

The crumb is one page of a file that is mapped into memory: setting it costs microseconds, and it outlives a worker
that dies. The guardian (pipeline/guardian.py) is started with the first limit.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from pipeline import guardian

#: Steps that are written down, besides the outermost: a page must hold them.
MOST_STEPS = 8


@dataclass(frozen=True)
class Step:
    """Something that a worker has begun. `since_s` is a clock time, for a person."""

    what: str
    subject: str | None
    limit_s: float | None
    since_s: float


class Watchdog:
    """The watch of a process. Steps of several threads may be open at a time.

    `keep`: the crumb stays when the process is gone, for who has started it.
    """

    def __init__(self, crumb: Path, *, keep: bool = False) -> None:
        self._lock = threading.Lock()
        self._steps: dict[int, list[tuple[Step, float]]] = {}  # thread -> open steps, each with its deadline
        with contextlib.suppress(PermissionError):  # a leader of a session leads its group already
            os.setpgid(0, 0)
        crumb.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        crumb.write_bytes(bytes(guardian.PAGE_BYTES))
        with crumb.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), guardian.PAGE_BYTES)
        command = [
            sys.executable,
            "-I",
            "-S",
            guardian.__file__,
            str(os.getpid()),
            str(crumb),
            *(["keep"] if keep else []),
        ]
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)

    @contextmanager
    def __call__(self, what: str, subject: str | None = None, *, limit_s: float | None = None) -> Iterator[None]:
        step = Step(what, subject, limit_s, time.time())
        thread = threading.get_ident()
        with self._lock:
            self._steps.setdefault(thread, []).append((step, _due(limit_s)))
            self._write()
        try:
            yield
        finally:
            with self._lock:
                steps = self._steps[thread]
                steps.pop()
                if steps:
                    steps[-1] = (steps[-1][0], _due(steps[-1][0].limit_s))
                else:
                    del self._steps[thread]
                self._write()

    def _write(self) -> None:
        """The innermost step of each thread counts; that which is due first stands last."""
        dues = [steps[-1][1] for steps in self._steps.values() if steps[-1][1]]
        threads = sorted(self._steps.values(), key=lambda steps: -(steps[-1][1] or float("inf")))
        steps = [asdict(step) for steps in threads for step, _ in steps]
        said = json.dumps([*steps[:-MOST_STEPS][:1], *steps[-MOST_STEPS:]]).encode()
        guardian.HEADER.pack_into(self._page, 0, 0.0, os.getpid(), len(said))
        self._page[guardian.HEADER.size : guardian.HEADER.size + len(said)] = said
        guardian.HEADER.pack_into(self._page, 0, min(dues, default=0.0), os.getpid(), len(said))


def _due(limit_s: float | None) -> float:
    return 0.0 if limit_s is None else time.monotonic() + limit_s


@lru_cache(maxsize=8)
def process_watch(run_root: str) -> Watchdog:
    """The watch of this worker process, for as long as it lives."""
    sweep(crumbs(run_root))
    return Watchdog(crumbs(run_root) / str(os.getpid()))


def crumbs(run_root: str) -> Path:
    """Where the workers of a run leave their crumbs on this node: memory or a local disk, never the run's store."""
    own = hashlib.sha256(run_root.encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"autorecap-{os.getuid()}" / f"workers-{own}"


def is_alive(crumb: Path) -> bool:
    """Whether the worker that left the crumb still runs."""
    try:
        pid = guardian.HEADER.unpack_from(crumb.read_bytes())[1]
    except (OSError, struct.error):
        return False
    return pid == 0 or Path(f"/proc/{pid}").exists()


def sweep(folder: Path) -> None:
    """Remove what workers have left whose guardians were ended with them. A trial's crumb is read after its death."""
    for crumb in folder.glob("*"):
        if crumb.name.isdigit() and not is_alive(crumb):
            crumb.unlink(missing_ok=True)


def read_crumb(crumb: Path) -> list[Step]:
    """What the worker was doing last, outermost first; empty: nothing, or nobody knows."""
    try:
        with crumb.open("rb") as file:
            page = mmap.mmap(file.fileno(), guardian.PAGE_BYTES, access=mmap.ACCESS_READ)
        return [Step(**step) for step in json.loads(guardian.text(page) or "[]")]
    except (OSError, ValueError, TypeError):
        return []


def passed_limit(crumb: Path) -> Step | None:
    """The step whose limit the worker has passed, if that is why its guardian ended it."""
    try:
        steps = json.loads(Path(f"{crumb}.ended").read_text(encoding="utf-8"))
        return Step(**steps[-1])
    except (OSError, ValueError, TypeError, IndexError):
        return None


def forget_crumb(crumb: Path) -> None:
    crumb.unlink(missing_ok=True)
    Path(f"{crumb}.ended").unlink(missing_ok=True)
