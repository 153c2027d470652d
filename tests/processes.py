"""Processes of a test's own: one, or two that meet as torchrun's do."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def process_of(module, *words, **variables):
    """`python -m module words`, in the checkout, with one thread."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **variables}
    return subprocess.Popen([sys.executable, "-m", module, *words], env=env, cwd=ROOT)


def run_two(module, *words):
    """Both must end well."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    meet = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    processes = [process_of(module, *words, RANK=str(rank), LOCAL_RANK=str(rank), **meet) for rank in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
