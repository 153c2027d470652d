"""kill -9 the demo's driver at random moments, resume, and compare with an uninterrupted run, byte by byte.

    python -m benchmarks.kill_demo --kills 10

Each kill comes after one or two new commits of that driver, at a random moment of the half second that follows, in
whichever leg is running; the next driver starts when the killed one's workers are gone, so that no commit is counted
twice. The demo's media server runs beside it. Compared: run.json and every file of plan/, corpus/, views/, shards/.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from examples.demo.server import DemoSite

ROOT = Path(__file__).resolve().parent.parent
CONFIG = "configs/demo.yaml"
#: Set in the driver's environment, inherited by its Ray.
MARK = "AUTORECAP_KILL_TEST"

#: Compared between the two runs. Logs hold clock times, and the cache is emptied.
COMPARED = ("plan", "corpus", "views", "shards", "run.json")


@dataclass
class Kill:
    """One kill: how many units were committed then, per leg, and how long the driver had lived."""

    lived_s: float
    fetch_units: int
    models_units: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "kill-test")
    options = parser.parse_args()
    shutil.rmtree(options.work, ignore_errors=True)
    options.work.mkdir(parents=True)
    with DemoSite(port=8765):
        whole, killed = options.work / "whole", options.work / "killed"
        started = time.monotonic()
        finish(whole)
        print(f"uninterrupted run: {time.monotonic() - started:.1f} s, {units_done(whole)} units (fetch, models)")
        kills = kill_many(killed, options.kills, random.Random(options.seed))
        finish(killed)
    report(kills, compare(whole, killed))


def autorecap(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pipeline.cli", *arguments]


def at(run: Path) -> list[str]:
    """The demo's recipe in another folder and in small units: more commits to kill between."""
    return [CONFIG, "--set", f"run={run}", "--set", "plan.unit_clips=4"]


def finish(run: Path) -> None:
    """plan, run, select and export to the end; what is done already is not done again."""
    verbs = (
        autorecap("plan", *at(run)),
        autorecap("run", *at(run)),
        autorecap("select", str(run), "--preset", "AutoReCapXL"),
        autorecap("export", str(run), "--view", "AutoReCapXL", "--out", str(run / "shards"), "--shard-clips", "16"),
        autorecap("verify", str(run), "--decode", "--sweep"),
    )
    for verb in verbs:
        subprocess.run(verb, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def kill_many(run: Path, kills: int, chance: random.Random) -> list[Kill]:
    """Kill the driver `kills` times, each after at least one commit of its own."""
    subprocess.run(
        autorecap("plan", *at(run)), cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    done = []
    for _ in range(kills):
        kill = kill_once(run, chance)
        if kill is None:
            break
        done.append(kill)
        print(
            f"kill {len(done)}: after {kill.lived_s:.1f} s, "
            f"units committed: {kill.fetch_units} fetch, {kill.models_units} models"
        )
    return done


def kill_once(run: Path, chance: random.Random) -> Kill | None:
    """Start the driver, wait for a new commit, wait a random moment, kill -9. None when it finished first."""
    before = sum(units_done(run))
    wanted = before + chance.randint(1, 2)
    started = time.monotonic()
    mark = f"{os.getpid()}-{before}-{started}"
    driver = subprocess.Popen(
        autorecap("run", *at(run)),
        cwd=ROOT,
        env={**os.environ, MARK: mark},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while sum(units_done(run)) < wanted:
        if driver.poll() is not None:
            return None
        if time.monotonic() - started > 120:
            raise TimeoutError("no commit within two minutes")
        time.sleep(0.01)
    time.sleep(chance.uniform(0.0, 0.5))
    if driver.poll() is not None:
        return None
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    kill = Kill(time.monotonic() - started, *units_done(run))
    wait_for_workers(mark)
    return kill


def wait_for_workers(mark: str, limit_s: float = 90.0) -> None:
    """Until no process of the killed driver works any more: its Ray inherited the mark in its environment."""
    give_up = time.monotonic() + limit_s
    while time.monotonic() < give_up and any(_has_mark(Path(folder), mark) for folder in Path("/proc").glob("[0-9]*")):
        time.sleep(0.2)


def _has_mark(process: Path, mark: str) -> bool:
    """A Ray worker with the mark; Ray's idle agents live a minute longer and commit nothing."""
    try:
        is_marked = f"{MARK}={mark}".encode() in (process / "environ").read_bytes()
        name = (process / "cmdline").read_bytes()
        return is_marked and name.startswith(b"ray::") and b"Agent" not in name
    except OSError:
        return False


def units_done(run: Path) -> tuple[int, int]:
    fetch = len(list((run / "corpus" / "units").glob("*/[!.]*.parquet")))
    models = len(list((run / "corpus" / "columns" / "models").glob("*/[!.]*.parquet")))
    return fetch, models


def compare(whole: Path, killed: Path) -> list[str]:
    """Lines of what differs; empty when every file is byte-identical."""
    one, other = digests(whole), digests(killed)
    lines = [f"only in the uninterrupted run: {name}" for name in sorted(one.keys() - other.keys())]
    lines += [f"only in the killed run: {name}" for name in sorted(other.keys() - one.keys())]
    return lines + [f"differs: {name}" for name in sorted(one.keys() & other.keys()) if one[name] != other[name]]


def digests(run: Path) -> dict[str, str]:
    files = [run / "run.json", *(path for top in COMPARED for path in (run / top).rglob("*") if path.is_file())]
    return {
        str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.is_file()
    }


def report(kills: list[Kill], differences: list[str]) -> None:
    print(f"{len(kills)} kills; {'byte-identical' if not differences else 'DIFFERENT'}")
    for line in differences[:20]:
        print(f"  {line}")
    sys.exit(1 if differences else 0)


if __name__ == "__main__":
    main()
