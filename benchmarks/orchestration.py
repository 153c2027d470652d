"""How many clips a second the road itself can carry: no-op stages, real commits, a local Ray.

    python -m benchmarks.orchestration --units 256 --clips 128

Five stages: two on an actor (num_cpus=0), three in tasks (num_cpus=1). Every unit is read from the plan and committed.
"steady" leaves out the start-up: it counts from the first committed unit. The bar is 2,000 clips/s on two cores.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from benchmarks.synthetic import write_plan
from corpus.store import Store
from pipeline.config import Recipe
from pipeline.engine import ensure_ray, stop_ray
from pipeline.run import LegEnd, UnitDone, run_leg


def recipe(run: str) -> Recipe:
    nothing = {"use": "benchmarks.synthetic:Nothing"}
    model = {"use": "benchmarks.synthetic:Nothing", "model": True}
    fetch = [nothing, {"use": "benchmarks.synthetic:Bytes"}, model, model, nothing]
    return Recipe.model_validate(
        {"name": "bench", "run": run, "legs": {"fetch": {"stages": fetch}}, "execution": {"cpus_per_task": 1.0}}
    )


def measure(units: int, clips: int) -> tuple[float, float]:
    """(clips/s from the first call, clips/s from the first commit)."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(str(Path(folder) / "run"))
        write_plan(store, units, clips)
        started = time.perf_counter()
        first = committed = 0.0
        for event in run_leg(store, recipe(store.root), "fetch"):
            if isinstance(event, UnitDone):
                assert event.error is None, event.error
                committed = time.perf_counter()
                first = first or committed
            elif isinstance(event, LegEnd):
                assert event.undone == 0
        total = units * clips
        return total / (committed - started), (total - clips) / (committed - first)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=256)
    parser.add_argument("--clips", type=int, default=128)
    options = parser.parse_args()
    ensure_ray()
    print(f"{'clips a unit':>12} {'units':>6} {'clips/s':>9} {'steady':>9}")
    for clips in (options.clips // 2, options.clips):
        whole, steady = measure(options.units, clips)
        print(f"{clips:>12} {options.units:>6} {whole:>9.0f} {steady:>9.0f}")
    stop_ray()


if __name__ == "__main__":
    main()
