import subprocess
import sys
import threading
import time
from pathlib import Path

from pipeline.stuck import InHand, NoProgress, lines_of, on_this_node
from pipeline.watchdog import Step, crumbs

ROOT = Path(__file__).resolve().parents[2]


def test_the_alarm_tells_and_tells_again_until_something_is_heard():
    told, twice = [], threading.Event()

    def tell(text):
        told.append(text)
        if len(told) == 2:
            twice.set()

    with NoProgress(0.05, lambda: ["node a: stage cut"], tell):
        assert twice.wait(20)
    assert all("no unit is done since 0:0" in text and "\n  node a: stage cut" in text for text in told)


def test_it_is_silent_while_units_are_done():
    told = []
    with NoProgress(5.0, list, told.append) as alarm:
        alarm.heard()
    assert told == []


def test_an_alarm_that_cannot_see_says_so():
    told, once = [], threading.Event()

    def look():
        raise OSError("no node")

    def tell(text):
        told.append(text)
        once.set()

    with NoProgress(0.05, look, tell):
        assert once.wait(20)
    assert "cannot be seen: OSError: no node" in told[0]


def test_a_line_says_unit_stage_clip_and_since_when():
    cut = InHand("10.0.0.7", [Step("stage cut", "00000-00003", 3600.0, 700.0), Step("decode", "clip_7", 60.0, 990.0)])
    fetch = InHand("10.0.0.8", [Step("stage fetch", "00000-00009", None, 100.0)])
    idle = InHand("10.0.0.9", [])
    assert lines_of([cut, fetch, idle], ["00000-00003", "00000-00004", "00000-00009"], now_s=1000.0) == [
        "node 10.0.0.8: stage fetch of 00000-00009 for 15:00",
        "node 10.0.0.7: stage cut of 00000-00003 for 5:00, in it decode of clip_7 for 0:10",
        "1 units are with no worker now, 00000-00004 is the first",
    ]


def test_of_many_workers_those_at_it_longest_are_told():
    many = [InHand("a", [Step("stage cut", f"u{at}", None, float(at))]) for at in range(30)]
    lines = lines_of(many, [], now_s=100.0)
    assert len(lines) == 21
    assert "u0 for 1:40" in lines[0]
    assert lines[-1] == "and 10 workers more"


WORKER = """
import sys, time
from pipeline.watchdog import process_watch
with process_watch(sys.argv[1])("stage cut", "00000-00003"):
    print("at it", flush=True)
    sys.stdin.read()
print("done", flush=True)
time.sleep(60)
"""


def test_what_the_workers_of_this_node_are_at_is_read_from_their_crumbs(tmp_path):
    run = str(tmp_path)
    assert on_this_node(run) == []
    command = [sys.executable, "-c", WORKER, run]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
        try:
            assert worker.stdout.readline() == "at it\n"
            assert [[step.subject for step in steps] for steps in on_this_node(run)] == [["00000-00003"]]
            worker.stdin.close()
            assert worker.stdout.readline() == "done\n"
            assert on_this_node(run) == []
        finally:
            worker.kill()
    give_up = time.monotonic() + 20
    while list(crumbs(run).iterdir()):
        assert time.monotonic() < give_up
        time.sleep(0.05)
    crumbs(run).rmdir()
