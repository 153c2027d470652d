"""Processes of a test's own: one, or two that meet as torchrun's do.

python -m tests.processes tests.small_lesson together OUT      # its function, with these words, as two ranks
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run_module(module, *words):
    """`python -m module words`, in the checkout, with one thread."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-m", module, *words], env=env, cwd=ROOT, check=True)


def run_two(module, function, *words):
    """Both must end well."""
    run_module("tests.processes", module, function, *words)


def in_child(work, *words):
    """The signal that ended it, 0 for none. A fork: what was imported is there."""
    return ended(forked(work, *words))


def forked(work, *words):
    pid = os.fork()
    if pid == 0:
        try:
            work(*words)
        except BaseException:  # noqa: BLE001  a fork must never come back
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    return pid


def ended(pid):
    status = os.waitpid(pid, 0)[1]
    assert os.WIFSIGNALED(status) or status == 0
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def main(module, function, *words):
    work = getattr(import_module(module), function)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    os.environ |= {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    started = []
    for rank in ("0", "1"):
        os.environ |= {"RANK": rank, "LOCAL_RANK": rank}
        started.append(forked(work, *words))
    assert [ended(pid) for pid in started] == [0, 0]


if __name__ == "__main__":
    main(*sys.argv[1:])
