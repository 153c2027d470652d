"""A small process beside each worker: ends it when a wall-clock limit passes, and clears up behind it.

    python -I -S guardian.py PID CRUMB [keep]

The worker writes what it is doing, and until when, into a page of memory that both map (pipeline/watchdog.py). No
thread of the worker could do this job: native code that hangs may hold Python's lock. Standard library only, and
few of its modules: there is one of these for each worker of a node.
"""

import contextlib
import json
import mmap
import os
import signal
import struct
import sys
import time

#: The page: when the worker is to be ended (seconds of the monotonic clock, 0 = not watched), its process's number, the
#: text's length, text.
HEADER = struct.Struct("<dII")
PAGE_BYTES = 4096

#: How often the page is looked at.
LOOK_EVERY_S = 0.5


def deadline_s(page: mmap.mmap) -> float:
    """The monotonic second at which the worker's time is up; 0: it may take as long as it likes."""
    return float(HEADER.unpack_from(page)[0])


def text(page: mmap.mmap) -> str:
    """What the worker is doing, as JSON."""
    length = min(HEADER.unpack_from(page)[2], PAGE_BYTES - HEADER.size)
    return page[HEADER.size : HEADER.size + length].decode("utf-8", "replace")


def family(pid: int) -> list[int]:
    """The processes that `pid` has started, and those that they have, this process left out."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError), open(f"/proc/{name}/stat", "rb") as file:
                children.setdefault(int(file.read().rsplit(b")", 1)[1].split()[1]), []).append(int(name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        for child in children.get(waiting.pop(), []):
            if child != os.getpid():
                found.append(child)
                waiting.append(child)
    return found


def end_group(group: int) -> None:
    """End what is left of a worker's process group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def end_worker(pid: int) -> None:
    """End the worker and all it has started. At once: a signal it could handle would wake what hangs, half-way."""
    for other in [pid, *family(pid)]:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(other, signal.SIGKILL)


def guard(pid: int, crumb: str, keep: bool) -> None:
    """Until the worker is gone. `keep`: somebody will read the crumb, and whether a limit was passed."""
    with open(crumb, "r+b") as file:
        page = mmap.mmap(file.fileno(), PAGE_BYTES)
    while os.getppid() == pid:  # the system gives this process another parent when the worker is gone
        due = deadline_s(page)
        doing = text(page)
        if due and time.monotonic() > due and deadline_s(page) == due:  # else it went on between two looks
            if keep:
                with open(f"{crumb}.ended", "w", encoding="utf-8") as note:
                    note.write(doing)
            sys.stderr.write(f"autorecap: worker {pid} is ended, its time is up: {doing}\n")
            end_worker(pid)
        time.sleep(LOOK_EVERY_S)
    end_group(pid)
    if json.loads(text(page) or "[]"):
        sys.stderr.write(f"autorecap: worker {pid} died: {text(page)}\n")
    if not keep:
        with contextlib.suppress(OSError):
            os.unlink(crumb)


if __name__ == "__main__":
    guard(int(sys.argv[1]), sys.argv[2], sys.argv[3:] == ["keep"])
