"""Workers that hang, as processes of their own: each is ended by its guardian."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from pipeline.watchdog import crumbs, forget_crumb, passed_limit, read_crumb

ROOT = Path(__file__).resolve().parents[2]


def worker(crumb, body):
    code = (
        "import ctypes, os, subprocess, time\nfrom pathlib import Path\nfrom pipeline.watchdog import Watchdog\n"
        f"watch = Watchdog(Path({str(crumb)!r}), keep=True)\n{body}\n"
    )
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def gone(pid):
    give_up = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text():
        assert time.monotonic() < give_up
        time.sleep(0.02)
    return True


def test_a_worker_that_holds_pythons_lock_is_ended_with_its_children(tmp_path):
    body = """
own = subprocess.Popen(["sleep", "600"], start_new_session=True)
print(own.pid, flush=True)
with watch("stage cut", "00000-00003", limit_s=600):
    with watch("decode", "clip_7", limit_s=0.2):
        ctypes.PyDLL(None).sleep(600)
"""
    hung = worker(tmp_path / "1", body)
    child = int(hung.stdout.readline())
    assert hung.wait(timeout=30) == -signal.SIGKILL
    assert gone(child)
    assert passed_limit(tmp_path / "1").subject == "clip_7"
    assert [step.what for step in read_crumb(tmp_path / "1")] == ["stage cut", "decode"]
    forget_crumb(tmp_path / "1")
    assert list(tmp_path.iterdir()) == []


def test_what_a_dead_worker_has_started_ends_with_it(tmp_path):
    body = """
print(subprocess.Popen(["sleep", "600"]).pid, flush=True)
with watch("stage cut", "00000-00003"):
    os.kill(os.getpid(), 11)
"""
    dead = worker(tmp_path / "1", body)
    child = int(dead.stdout.readline())
    assert dead.wait(timeout=30) == -signal.SIGSEGV
    assert gone(child)
    assert passed_limit(tmp_path / "1") is None
    assert read_crumb(tmp_path / "1")[0].subject == "00000-00003"


def test_a_sign_of_life_gives_the_stage_its_time_again_and_an_open_end_is_waited_for(tmp_path):
    body = """
with watch("stage fetch", "u", limit_s=2.0):  # the signs come thrice as often: a machine under load may stand still
    for _ in range(3):
        time.sleep(0.7)
        with watch("download", "s", limit_s=60):
            pass
    with watch("wait", "site"):
        time.sleep(2.1)
"""
    assert worker(tmp_path / "1", body).wait(timeout=60) == 0
    assert read_crumb(tmp_path / "1") == []


def test_threads_are_watched_each_for_itself(tmp_path):
    body = """
import threading
def other():
    with watch("download", "source_2", limit_s=0.2):
        time.sleep(600)
threading.Thread(target=other, daemon=True).start()
with watch("stage fetch", "u", limit_s=600):
    time.sleep(600)
"""
    assert worker(tmp_path / "1", body).wait(timeout=30) == -signal.SIGKILL
    assert passed_limit(tmp_path / "1").subject == "source_2"


def test_no_crumb_says_nothing(tmp_path):
    assert read_crumb(tmp_path / "none") == []
    assert crumbs("/a/run") != crumbs("/another/run")
    assert str(os.getuid()) in str(crumbs("/a/run"))
