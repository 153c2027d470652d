"""kill -9 driver, actors and nodes of a whole run at random moments; compare with an uninterrupted one, byte by byte.

    python -m benchmarks.kill_road --kills 100            # 2,040 clips in 340 units, two legs, an hour at most
    python -m benchmarks.kill_road --kills 6 --sources 40

A site on loopback, sounds of our own, yt-dlp, fetch, cut, commit, then a leg of models that only listens; on three
Ray nodes of one machine. Each kill comes after at least one new commit: of the driver (the next one resumes), of a
worker process (a task of the fetch leg, an actor of the models leg) or of a node (another takes its place). Compared:
plan/, corpus/ and run.json. Counted: units begun again, units begun although committed, media asked for more than
once, and asked for although they were in the cache.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import yaml

from benchmarks.kill_demo import MARK, ROOT, autorecap, compare, units_done
from corpus import plan_store
from corpus.counts import count_outcomes
from corpus.store import Store
from tests.site_server import Site

PLUGINS = str(ROOT / "tests" / "data" / "ytdlp_plugins")
SOURCE_S = 60
LONG_EVERY, LONG_S = 20, 160  # every so many-th source is longer than a unit and spans several
RATE_HZ = 16_000
KINDS = ("driver", "worker", "node")

#: Nodes of the cluster, with a CPU each; the first has the cluster's own services and is never killed.
NODES = 3
#: A node that does not answer is given up after a second, not after Ray's half minute.
QUICK = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 2}


@dataclass
class Tally:
    """What the kills did."""

    kills: Counter[str] = field(default_factory=Counter)
    starts: int = 0
    lines: list[str] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--sources", type=int, default=320)
    parser.add_argument("--unit-clips", type=int, default=6)
    parser.add_argument("--pause-s", type=float, default=0.3, help="How long each leg's own stage lasts, a unit.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "kill-road")
    options = parser.parse_args()
    shutil.rmtree(options.work, ignore_errors=True)
    kinds = [kind for kind, share in zip(KINDS, (3, 5, 2), strict=True) for _ in range(share)]
    chance = random.Random(options.seed)
    wanted = [chance.choice(kinds) for _ in range(options.kills)]
    trial = Trial(options.work, options.sources, options.unit_clips, options.pause_s)
    sys.exit(0 if trial.work(wanted, chance, say=lambda line: print(line, flush=True)) else 1)


class Trial:
    """One folder: the site, the two runs, and what was noted."""

    def __init__(self, folder: Path, sources: int, unit_clips: int, pause_s: float) -> None:
        folder.mkdir(parents=True)
        self.folder, self.sources, self.unit_clips, self.pause_s = folder, sources, unit_clips, pause_s
        self.whole, self.killed = folder / "whole", folder / "killed"
        self.tally = Tally()
        self.site = SoundSite(sources)

    def work(self, kinds: list[str], chance: random.Random, say: Any = lambda line: None) -> bool:
        """The uninterrupted run, then the one with these kills; True when nothing differs and nothing was redone."""
        try:
            with cluster() as nodes:
                started = time.monotonic()
                self.run_to_the_end(self.whole, nodes.address)
                about = f"{clips_of(self.whole)} clips, {units_done(self.whole)} units (fetch, models)"
                say(f"uninterrupted: {time.monotonic() - started:.0f} s, {about}")
                asked = self.site.media_asked()
                self.plan(self.killed)
                started = time.monotonic()
                self.kill(kinds, chance, nodes, say)
                self.run_to_the_end(self.killed, nodes.address)
                say(f"with {sum(self.tally.kills.values())} kills: {time.monotonic() - started:.0f} s")
        finally:
            self.site.close()
        return self.report(self.site.media_asked() - asked, say)

    def recipe(self, run: Path, address: str) -> Path:
        """The recipe of a run, as a file. Both runs have the same legs: their hashes are in the corpus."""
        note = {"log": str(self.folder / "begun.jsonl"), "pause_s": self.pause_s}
        stages = "benchmarks.kill_stages"
        config = {
            "name": "kill_road",
            "run": str(run),
            "sources": [{"type": "urls", "items": [f"{self.site.url}/watch/{at}" for at in range(self.sources)]}],
            "plan": {"unit_clips": self.unit_clips, "without_transcript": "grid"},
            "ytdlp": {
                "plugin_dirs": [PLUGINS],
                "requests_per_s": 10_000,
                "backoff_s": 0.1,
                "allow_private_addresses": ["127.0.0.0/8"],
            },
            "legs": {
                "fetch": {
                    "stages": [
                        {"use": "fetch"},
                        {"use": "cut", "sample_rate_hz": RATE_HZ},
                        {"use": f"{stages}:Note", "leg": "fetch", **note},
                    ]
                },
                "models": {
                    "after": "fetch",
                    "stages": [{"use": "load_audio"}, {"use": f"{stages}:Loudness", "leg": "models", **note}],
                },
            },
            "execution": {
                "ray_address": address or None,
                "cache_dir": str(run / "cache"),
                "wave_units": 64,
                "pools": {"models": {"workers": 2}},
            },
        }
        path = self.folder / f"{run.name}.yaml"
        path.write_text(yaml.safe_dump(config))
        return path

    def plan(self, run: Path) -> None:
        finish(autorecap("plan", str(self.recipe(run, ""))))
        self.site.watch_cache(run)

    def run_to_the_end(self, run: Path, address: str) -> None:
        if not run.exists():
            self.plan(run)
        finish(autorecap("run", str(self.recipe(run, address))))
        finish(autorecap("verify", str(run), "--decode", "--sweep"))

    def kill(self, kinds: list[str], chance: random.Random, nodes: Any, say: Any) -> None:
        """Kill one after the other, each after at least one new commit, spread over both legs."""
        driver: subprocess.Popen[bytes] | None = None
        total = 2 * units_planned(self.killed)
        widest = max(int(1.6 * total / len(kinds)) - 1, 1)
        for number, kind in enumerate(kinds, 1):
            starts_before, before = self.tally.starts, sum(units_done(self.killed))
            enough = total - 4 * (len(kinds) - number + 1)  # so that there are commits left for those that come
            wanted = max(min(before + chance.randint(1, widest), enough), before + 1)
            while sum(units_done(self.killed)) < wanted:
                if driver is None or driver.poll() is not None:
                    if sum(units_done(self.killed)) == total:
                        say(f"the run was over before kill {number}")
                        return
                    if self.tally.starts == starts_before + 3:
                        raise RuntimeError(f"three drivers committed nothing: see {self.folder / 'drivers.log'}")
                    driver = self.start(nodes.address)
                time.sleep(0.01)
            time.sleep(chance.uniform(0.0, 0.5))
            assert driver is not None
            what = self.kill_one(kind, driver, nodes, chance)
            self.tally.kills[kind] += 1
            say(f"kill {number}: {what}, {units_done(self.killed)} units committed")
        if driver is not None:
            driver.wait()

    def start(self, address: str) -> subprocess.Popen[bytes]:
        """A driver, in whichever leg it finds work."""
        self.tally.starts += 1
        command = autorecap("run", str(self.recipe(self.killed, address)))
        with (self.folder / "drivers.log").open("ab") as said:
            return subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=said, start_new_session=True)

    def kill_one(self, kind: str, driver: subprocess.Popen[bytes], nodes: Any, chance: random.Random) -> str:
        if kind == "driver":
            driver.kill()
            driver.wait()
            return "driver"
        if kind == "node":
            return f"node {nodes.kill_one(chance)}"
        give_up = time.monotonic() + 60
        while not (workers := working(nodes.mark)):
            assert time.monotonic() < give_up, "no worker process in a minute"
            time.sleep(0.01)
        pid, name = chance.choice(workers)
        os.kill(pid, signal.SIGKILL)
        return f"worker {name}"

    def report(self, asked: Counter[str], say: Any) -> bool:
        differences = compare(self.whole, self.killed)
        begun = [json.loads(line) for line in (self.folder / "begun.jsonl").read_text().splitlines()]
        counts = Counter((line["leg"], line["unit"]) for line in begun)
        again = sum(counts.values()) - 2 * len(counts)  # the uninterrupted run has begun each once, too
        kills = sum(self.tally.kills.values())
        twice = sum(count - 1 for count in asked.values())
        committed = sum(line["committed"] for line in begun)
        clips = [clips_of(run) for run in (self.whole, self.killed)]
        say(f"kills: {dict(self.tally.kills)}; drivers started: {self.tally.starts + 1}")
        say(f"clips: {clips[0]} and {clips[1]}; corpora {'DIFFER' if differences else 'byte-identical'}")
        for line in differences[:20]:
            say(f"  {line}")
        say(f"units begun again: {again} ({again / max(kills, 1):.1f} a kill); begun although committed: {committed}")
        say(
            f"media: {len(asked)} asked for {asked.total()} times; {twice} again after a kill in the middle of a "
            f"download; {self.site.while_cached} while in the cache"
        )
        return not differences and not self.site.while_cached


class SoundSite(Site):
    """Pages with sounds made here: noise in bursts, another one each. Knows what a run has in its cache."""

    def __init__(self, sources: int) -> None:
        super().__init__()
        self.while_cached = 0
        self._cache: Path | None = None
        self._ids: dict[str, str] = {}
        self.asked = _Asked(self)
        for at in range(sources):
            seconds = LONG_S if at % LONG_EVERY == LONG_EVERY - 1 else SOURCE_S
            media = self.put(f"/media/{at}.ogg", sound(at, seconds), "audio/ogg")
            formats = [{"format_id": "a", "url": media, "ext": "ogg", "vcodec": "none", "acodec": "opus", "abr": 24}]
            self.watch(str(at), formats=formats, duration=float(seconds))

    def watch_cache(self, run: Path) -> None:
        """From here on media are asked for by this run."""
        sources = plan_store.read_sources(Store(str(run)), ["source_key", "source_id"]).to_pylist()
        self._ids = {f"/media/{row['source_key'].rpartition('/')[2]}.ogg": row["source_id"] for row in sources}
        self._cache = run / "cache"

    def look(self, path: str) -> None:
        if self._cache is not None and (source_id := self._ids.get(path)):
            self.while_cached += any(self._cache.glob(f"*/{source_id}/media.*"))

    def media_asked(self) -> Counter[str]:
        with self.lock:
            return Counter(path for path in self.asked if path.startswith("/media/"))


class _Asked(list[str]):
    """The site's list of requests; each is looked at as it comes."""

    def __init__(self, site: SoundSite) -> None:
        super().__init__()
        self._site = site

    def append(self, path: str) -> None:
        self._site.look(path)
        super().append(path)


def sound(seed: int, seconds: int) -> bytes:
    """Bursts of noise, one every second, as Ogg Vorbis."""
    chance = np.random.default_rng(seed)
    loud = np.repeat(chance.uniform(0.02, 0.3, seconds), RATE_HZ)
    wave = (chance.standard_normal(seconds * RATE_HZ) * loud).clip(-1, 1)
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", RATE_HZ, 1, "VORBIS", format="OGG") as made:
        for second in range(0, wave.size, RATE_HZ):  # libsndfile cannot take minutes of Vorbis at once
            made.write(wave[second : second + RATE_HZ].astype(np.float32))
    return file.getvalue()


class Nodes:
    """A Ray cluster on this machine whose nodes can be killed."""

    def __init__(self, ray_cluster: Any, mark: str) -> None:
        self._cluster, self.mark = ray_cluster, mark
        self.address = str(ray_cluster.address)
        self._others = [self._cluster.add_node(num_cpus=1) for _ in range(NODES - 1)]

    def kill_one(self, chance: random.Random) -> int:
        """Kill a node's processes, raylet and workers, and start another node; which one it was."""
        at = chance.randrange(len(self._others))
        node = self._others[at]
        raylet = node.all_processes["raylet"][0].process.pid
        workers = children(raylet)
        self._cluster.remove_node(node, allow_graceful=False)
        for pid in workers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._others[at] = self._cluster.add_node(num_cpus=1)
        return at + 1


@contextmanager
def cluster() -> Iterator[Nodes]:
    """Three nodes, told to find a dead one within a second."""
    from ray.cluster_utils import Cluster

    mark = f"{os.getpid()}-{time.monotonic()}"
    os.environ.update({MARK: mark, "RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"})
    made = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": False, "_system_config": QUICK},
    )
    try:
        yield Nodes(made, mark)
    finally:
        made.shutdown()
        del os.environ[MARK]


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def working(mark: str) -> list[tuple[int, str]]:
    """Ray's worker processes of this cluster that hold a task or an actor of the graph."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name = (folder / "cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
            ours = name.startswith("ray::") and any(part in name for part in ("fetch: ", "models: ", "ModelWorker"))
            if ours and f"{MARK}={mark}".encode() in (folder / "environ").read_bytes():
                found.append((int(folder.name), name.removeprefix("ray::")))
        except OSError:
            continue
    return sorted(found)


def finish(command: list[str]) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command[3:]}: {done.returncode}\n{done.stdout}\n{done.stderr}")


def units_planned(run: Path) -> int:
    return sum(1 for _ in plan_store.iter_units(Store(str(run))))


def clips_of(run: Path) -> int:
    """Clips that the last leg has committed."""
    return count_outcomes(Store(str(run)), ["fetch", "models"]).legs[-1].clips_done


if __name__ == "__main__":
    main()
