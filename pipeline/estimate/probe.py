"""How fast the model legs go on this machine: made-up sound of the plan's mean length through a leg's own stages.

    probe_leg(recipe, "models", clip_ms=8_000, clips=200, limit_s=20)

Nothing of the run is read or written. A model takes as long for one sound as for another. The first unit only warms
up; units grow, so that a slow machine is told apart after a few clips and a GPU gets full batches.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from audio.codec import encode
from corpus import plan_store, units
from corpus.schema import PLAN, SOURCES, fields
from corpus.store import Store
from pipeline.chain import Link, build_chain
from pipeline.config import Recipe
from pipeline.legjob import cut_into_groups
from pipeline.run import column_legs
from pipeline.worker import UnitRunner, finish_unit, start_unit
from stages.base import Services, with_columns

log = logging.getLogger(__name__)

PROBE_CLIPS = 200
PROBE_LIMIT_S = 20.0
WARM_UP_CLIPS = 4
SMALLEST_UNIT, LARGEST_UNIT = 8, 128
RATE_HZ = 48_000
PART = "00000"


@dataclass(frozen=True)
class ModelRate:
    """What a leg's pools do on one machine. `told`: where the figure is from, or why there is none."""

    leg: str
    clips_per_s: float | None
    told: str


def model_legs(recipe: Recipe) -> list[str]:
    """The legs with stages that hold models, which follow the leg that commits the audio."""
    return [
        name
        for name, leg in recipe.legs.items()
        if leg.after is not None and leg.job is None and any(link.stage.needs().model for link in build_chain(leg))
    ]


def probe_leg(
    recipe: Recipe, leg: str, *, clip_ms: int, clips: int = PROBE_CLIPS, limit_s: float = PROBE_LIMIT_S
) -> ModelRate:
    """The rate of one worker a pool in this process; none where the models cannot be had here, and why."""
    with tempfile.TemporaryDirectory(prefix="autorecap-probe-") as folder:
        try:
            return _Probe(recipe, leg, Path(folder)).run(clip_ms, clips, limit_s)
        except Exception as error:  # a model that is not on this machine must not cost the plan
            log.warning("leg %s was not probed", leg, exc_info=True)
            return ModelRate(leg, None, f"not probed: {' '.join(str(error).split())[:200]}")


class _Probe:
    """A leg's stages, opened in this process over a folder of made-up units."""

    def __init__(self, recipe: Recipe, leg: str, folder: Path) -> None:
        self._recipe, self._leg = recipe, leg
        self._store = Store(str(folder / "run"))
        self._before = [self._runner(name, folder) for name in column_legs(recipe, leg)]
        self._own = self._runner(leg, folder)

    def run(self, clip_ms: int, clips: int, limit_s: float) -> ModelRate:
        sizes = [WARM_UP_CLIPS, *unit_sizes(clips)]
        write_sound(self._store, self._recipe, clip_ms, sizes)
        started = time.perf_counter()
        timed: list[tuple[int, float]] = []
        try:
            for number, size in enumerate(sizes):
                seconds = self._unit(f"{PART}-{number:05d}")
                if number == 0:
                    started = time.perf_counter()
                    continue
                timed.append((size, seconds))
                if time.perf_counter() - started > limit_s:
                    break
        finally:
            for runner in [*self._before, self._own]:
                runner.close()
        heard = sum(size for size, _ in timed)
        return ModelRate(self._leg, full_rate(timed), f"probed with {heard} clips of made-up sound on this machine")

    def _unit(self, unit_id: str) -> float:
        """Seconds of the slowest pool for a unit: pools work side by side."""
        unit = units.read_root_unit(self._store, unit_id)
        for runner in self._before:
            unit, _ = finish_unit(runner.run(start_unit(unit, unit_id)))
        _, tally = finish_unit(self._own.run(start_unit(unit, unit_id)))
        if tally.error is not None:
            raise RuntimeError(tally.error)
        seconds: defaultdict[str, float] = defaultdict(float)
        for stage, pool in zip(tally.stages, self._pools(), strict=True):
            if pool is not None:
                seconds[pool] += stage.seconds / self._recipe.pool(pool).workers
        return max(seconds.values())

    def _pools(self) -> list[str | None]:
        leg = self._recipe.legs[self._leg]
        groups = cut_into_groups(build_chain(leg), [(spec.use, spec.options) for spec in leg.stages])
        return [group.pool for group in groups for _ in group.stages]

    def _runner(self, leg: str, folder: Path) -> UnitRunner:
        links = build_chain(self._recipe.legs[leg])
        pool = self._recipe.pool(next((link.pool for link in links if link.stage.needs().model), "models"))
        services = Services(
            run_root=self._store.root,
            cache_dir=folder / "cache",
            device=_device(links, pool.gpus_per_worker),
            threads=pool.threads,
        )
        return UnitRunner(links, services)


def _device(links: Sequence[Link], gpus_per_worker: float | None) -> str:
    if gpus_per_worker == 0 or not any(link.stage.needs().model for link in links):
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def full_rate(timed: Sequence[tuple[int, float]]) -> float:
    """Clips/s of the larger units: (clips, seconds) of each. In small ones batches are not full."""
    half = max(size for size, _ in timed) / 2
    large = [(size, seconds) for size, seconds in timed if size >= half]
    return sum(size for size, _ in large) / max(sum(seconds for _, seconds in large), 1e-9)


def unit_sizes(clips: int) -> list[int]:
    """Units of together `clips` clips, each twice the one before, up to LARGEST_UNIT."""
    sizes: list[int] = []
    size = SMALLEST_UNIT
    while clips > 0:
        sizes.append(min(size, clips))
        clips -= sizes[-1]
        size = min(2 * size, LARGEST_UNIT)
    return sizes


def write_sound(store: Store, recipe: Recipe, clip_ms: int, sizes: Sequence[int]) -> None:
    """Planned and committed units of noise, as the root leg would leave them."""
    unit_ids = [f"{PART}-{number:05d}" for number in range(len(sizes))]
    planned = [
        pa.Table.from_pylist(list(_rows(unit_id, size, clip_ms)), schema=PLAN)
        for unit_id, size in zip(unit_ids, sizes, strict=True)
    ]
    plan_store.write_part(store, PART, pa.concat_tables(planned), SOURCES.empty_table())
    meta = units.UnitMeta(recipe.root_leg, "", plan_store.part_sha256(store, PART))
    audio = fields("audio", "codec", "sample_rate_hz", "num_samples", "mono_fold_db")
    for number, unit in enumerate(planned):
        noise = np.random.default_rng(number).normal(0.0, 0.1, (unit.num_rows, clip_ms * RATE_HZ // 1000))
        columns = {
            "audio": [encode(wave.astype(np.float32).clip(-1, 1), RATE_HZ, "flac") for wave in noise],
            "codec": ["flac"] * unit.num_rows,
            "sample_rate_hz": [RATE_HZ] * unit.num_rows,
            "num_samples": [noise.shape[1]] * unit.num_rows,
            "mono_fold_db": [None] * unit.num_rows,
        }
        rows = with_columns(start_unit(unit, unit_ids[number]), columns, audio)
        units.commit_root(store, unit, finish_unit(rows)[0], meta)


def _rows(unit_id: str, clips: int, clip_ms: int) -> Iterator[dict[str, object]]:
    """A source each: neighbours of one source could be joined."""
    for row in range(clips):
        source = f"probe{unit_id}-{row}"
        yield {
            "clip_id": f"{source}_0_{clip_ms}",
            "source_id": source,
            "source_key": source,
            "unit_id": unit_id,
            "row": row,
            "start_ms": 0,
            "end_ms": clip_ms,
            "title": "A recording of the street in front of the house",
            "media": "{}",
            "source_units": 1,
        }
