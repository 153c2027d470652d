"""How many requests a second the governor answers for: the plain object in one process, and the actor of a cluster.

    python -m benchmarks.governor --turns 2000 --workers 1 2

A turn is one question and one report. The actor is asked by that many worker processes at once; each waits for its
answer before it asks again, as a stage does. Nothing is fetched, and no pace is set.
"""

from __future__ import annotations

import argparse
import time

from pipeline.engine import ensure_ray, stop_ray
from pipeline.governor_actor import ClusterGovernor
from stages.gate import Rules
from stages.governor import Asked, Governor

#: Ten sessions that nothing holds up.
RULES = Rules(sessions=tuple((f"session{at}", 1e9) for at in range(10)))


def go(governor: Asked, turns: int) -> float:
    """Seconds that so many turns take."""
    began_s = time.perf_counter()
    for at in range(turns):
        turn = governor.ask(RULES, f"site{at % 7}.example")
        governor.report(RULES, turn, "ok", f"{at}")
    return time.perf_counter() - began_s


class Worker:
    """A process that asks."""

    def __init__(self) -> None:
        self._governor = ClusterGovernor()
        go(self._governor, 50)

    def go(self, turns: int) -> float:
        return go(self._governor, turns)


def measure_actor(workers: int, turns: int) -> tuple[float, float]:
    """(turns a second of all workers together, milliseconds that a worker spends on one)."""
    import ray

    made = ray.remote(num_cpus=0)(Worker)
    crowd = [made.remote() for _ in range(workers)]
    ray.get([worker.go.remote(1) for worker in crowd])
    began_s = time.perf_counter()
    each_s = ray.get([worker.go.remote(turns) for worker in crowd])
    whole_s = time.perf_counter() - began_s
    return workers * turns / whole_s, 1000 * sum(each_s) / workers / turns


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=2000, help="of each worker")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    options = parser.parse_args()
    print(f"{'asked by':<24} {'turns/s':>10} {'ms a turn':>10}")
    seconds = go(Governor(), 20_000)
    print(f"{'the plain object':<24} {20_000 / seconds:>10,.0f} {1000 * seconds / 20_000:>10.3f}")
    ensure_ray()
    for workers in options.workers:
        rate, each_ms = measure_actor(workers, options.turns)
        print(f"{f'{workers} worker processes':<24} {rate:>10,.0f} {each_ms:>10.3f}")
    stop_ray()


if __name__ == "__main__":
    main()
