"""Turns per host, for threads and for processes."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from stages.pace import Pace

A, B = "http://127.0.0.1:1/x", "http://127.0.0.2/x"


@pytest.mark.parametrize("shared", [False, True])
def test_one_turn_after_the_other(tmp_path: Path, shared: bool):
    pace = Pace(20, tmp_path / ".pace" if shared else None)
    started = time.monotonic()
    threads = [threading.Thread(target=pace.wait, args=(A,)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0.2 <= time.monotonic() - started < 1.0


def test_hosts_do_not_wait_for_each_other():
    pace = Pace(1)
    started = time.monotonic()
    pace.wait(A)
    pace.wait(B)
    assert time.monotonic() - started < 0.5


@pytest.mark.parametrize("shared", [False, True])
def test_a_cool_down_holds_for_everybody(tmp_path: Path, shared: bool):
    folder = tmp_path if shared else None
    pace = Pace(1000, folder)
    pace.cool_down(A, 0.3)
    started = time.monotonic()
    (Pace(1000, folder) if shared else pace).wait(A)
    assert time.monotonic() - started >= 0.25


def test_processes_of_a_node_share_their_turns(tmp_path: Path):
    code = f"from stages.pace import Pace; from pathlib import Path\np = Pace(20, Path({str(tmp_path)!r}))\n"
    code += f"for _ in range(4): p.wait({A!r})"
    started = time.monotonic()
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait() for process in running] == [0, 0]
    assert time.monotonic() - started >= 0.35


@pytest.mark.parametrize("content", [b"", b"torn", b"9e99", b"nan"])
def test_a_torn_file_or_a_jumped_clock_stops_nobody(tmp_path: Path, content: bytes):
    pace = Pace(1000, tmp_path)
    pace.wait(A)
    (file,) = tmp_path.iterdir()
    file.write_bytes(content)
    started = time.monotonic()
    pace.wait(A)
    assert time.monotonic() - started < 0.5
