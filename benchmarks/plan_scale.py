"""Plans of a million sources: how fast a published AutoReCap-XL file becomes one, and whether memory stays flat.

    python -m benchmarks.plan_scale published --lines 1000000     # (e) lines/s and peak memory of a plan
    python -m benchmarks.plan_scale memory --clips 10000 1000000  # (c) driver memory of `plan` and of `run`

The file is made up with a fixed seed: 2.3 clips a line, one line in 50 repeats an id (half of them far away), one in
1,000 is broken. Each measurement is a process of its own; its memory is the kernel's own peak (getrusage), workers of
Ray not counted. `run` works the plan with no-op stages on a local Ray: what is left is the driver's own share.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import orjson

SEED = 20261121
CLIPS_PER_LINE = 2.3
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
WORDS = "a the wind rain dog bird engine water bell crowd door birds chirping barks blows in distance while and".split()


def write_list(path: Path, lines: int) -> int:
    """A made-up file of this many lines; returns how many clips its good lines have."""
    draw = random.Random(SEED)
    ids: list[str] = []
    clips = 0
    with path.open("wb") as file:
        for _ in range(lines):
            if draw.random() < 0.001:
                file.write(b'{"broken": {"inter\n')
                continue
            again = ids and draw.random() < 0.02
            video = draw.choice(ids if draw.random() < 0.5 else ids[-100:]) if again else _video_id(draw)
            ids.append(video)
            intervals = [_interval(draw, at) for at in range(draw.choices((1, 2, 3, 4, 5), (35, 28, 20, 9, 8))[0])]
            clips += len(intervals)
            file.write(orjson.dumps({video: {"intervals": intervals}}) + b",\n")
    return clips


def _video_id(draw: random.Random) -> str:
    return "".join(draw.choices(LETTERS, k=11))


def _interval(draw: random.Random, at: int) -> dict[str, Any]:
    start = round(at * 40 + draw.random() * 20, 3)
    text = " ".join(draw.choices(WORDS, k=9)).capitalize()
    end = round(start + 1.2 + draw.random() * 8, 3)
    return {"start": start, "end": end, "text": text, "CLAP_SIM": round(draw.uniform(0.1, 0.7), 4)}


# What a child process does.


def recipe(run: Path, listed: Path | None, *, units: int, sources_per_part: int, wave_units: int | None = None) -> Any:
    from pipeline.config import Recipe

    nothing = {"use": "benchmarks.synthetic:Nothing"}
    sources = [] if listed is None else [{"type": "autorecap", "path": str(listed)}]
    return Recipe.model_validate(
        {
            "name": "bench",
            "run": str(run),
            "sources": sources,
            "plan": {"unit_clips": units, "sources_per_part": sources_per_part},
            "legs": {"fetch": {"stages": [nothing, {**nothing, "model": True}]}},
            "execution": {"wave_units": wave_units},
        }
    )


def plan_child(options: argparse.Namespace) -> dict[str, Any]:
    """Plan the list."""
    from pipeline.plan import plan
    from pipeline.runfolder import start_run

    made = recipe(options.run, options.list, units=options.unit_clips, sources_per_part=options.sources_per_part)
    store = start_run(made)
    result = plan(made, store)
    report = result.lists[0]
    return {"sources": result.new, "clips": result.progress.clips, "lines": report.lines, "broken": report.broken_lines}


def run_child(options: argparse.Namespace) -> dict[str, Any]:
    """Run the planned clips through stages that do nothing."""
    from pipeline.engine import stop_ray
    from pipeline.events import LegEnd
    from pipeline.run import run_leg
    from pipeline.runfolder import start_run

    rules = {"units": options.unit_clips, "sources_per_part": options.sources_per_part}
    made = recipe(options.run, None, **rules, wave_units=options.wave_units)
    for event in run_leg(start_run(made), made, "fetch"):
        if isinstance(event, LegEnd):
            assert event.undone == 0, event.errors[:3]
            units = event.committed
    stop_ray()
    return {"units": units}


def measure(child: str, **options: Any) -> dict[str, Any]:
    """A child's answer with its seconds, CPU seconds and peak memory."""
    words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items() if value is not None]
    command = [sys.executable, "-m", "benchmarks.plan_scale", child, *words]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def as_child(child: str, options: argparse.Namespace) -> None:
    started = time.perf_counter()
    answer = {"plan-child": plan_child, "run-child": run_child}[child](options)
    answer["seconds"] = time.perf_counter() - started
    usage = resource.getrusage(resource.RUSAGE_SELF)
    answer["cpu_s"] = usage.ru_utime + usage.ru_stime
    answer["peak_mb"] = usage.ru_maxrss / 1024 if sys.platform != "darwin" else usage.ru_maxrss / 1024**2
    print(json.dumps(answer))


# What is shown.


def published(lines: int, unit_clips: int, sources_per_part: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "list.json"
        write_list(listed, lines)
        rules = {"unit_clips": unit_clips, "sources_per_part": sources_per_part}
        found = measure("plan-child", run=Path(folder) / "run", list=listed, **rules)
        size_mb = listed.stat().st_size / 1e6
    found |= {"MB": size_mb, "lines/s": lines / found["seconds"], "lines/CPU s": lines / found["cpu_s"]}
    names = ("lines", "sources", "clips", "broken", "MB", "seconds", "lines/s", "lines/CPU s", "peak_mb")
    print("".join(f"{name:>13}" for name in names))
    print("".join(f"{found[name]:>13.0f}" for name in names))


def memory(clips: list[int], unit_clips: int, sources_per_part: int, wave_units: int | None) -> None:
    print(f"{'clips':>9} {'what':>5} {'s':>7} {'clips/s':>8} {'peak MB':>8}")
    for count in clips:
        with tempfile.TemporaryDirectory() as folder:
            listed = Path(folder) / "list.json"
            write_list(listed, round(count / CLIPS_PER_LINE))
            run = Path(folder) / "run"
            common = {"run": run, "unit_clips": unit_clips, "sources_per_part": sources_per_part}
            planned = measure("plan-child", list=listed, **common)
            done = measure("run-child", **common, wave_units=wave_units)
        for what, found in (("plan", planned), ("run", done)):
            rate = planned["clips"] / found["seconds"]
            print(
                f"{planned['clips']:>9} {what:>5} {found['seconds']:>7.1f} {rate:>8.0f} {found['peak_mb']:>8.0f}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["published", "memory", "plan-child", "run-child"])
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--clips", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--unit-clips", type=int, default=128)
    parser.add_argument("--sources-per-part", type=int, default=5000)
    parser.add_argument("--wave-units", type=int, help="units of one wave of `run`")
    parser.add_argument("--list", type=Path)
    parser.add_argument("--run", type=Path)
    options = parser.parse_args()
    if options.what == "published":
        published(options.lines, options.unit_clips, options.sources_per_part)
    elif options.what == "memory":
        memory(options.clips, options.unit_clips, options.sources_per_part, options.wave_units)
    else:
        as_child(options.what, options)


if __name__ == "__main__":
    main()
