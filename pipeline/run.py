"""Run a recipe's legs, wave by wave, until every planned unit is committed.

    for event in run_leg(store, recipe, "fetch"): ...

Resume is the normal case: what is to do (pipeline/todo.py) = planned units (that the leg before has committed) without
this leg's Parquet. A unit that fails or whose worker dies stays undone; the next start takes it up again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from corpus import compact, plan_store
from corpus.store import Store
from pipeline.chain import build_chain
from pipeline.config import Recipe, plain
from pipeline.events import LegEnd, LegStart, LegStopped, PoolShare, UnitDone
from pipeline.follow import LegWaits, Waves
from pipeline.leftovers import forget_leftovers
from pipeline.legjob import LegJob, cut_into_groups
from pipeline.meter import LegMeter
from pipeline.metrics import RayMetrics, run_name
from pipeline.runfolder import OtherRun, start_leg
from pipeline.todo import Partition, Todo
from pipeline.wave import work_wave

log = logging.getLogger(__name__)

__all__ = ["LegEnd", "LegEvent", "LegStart", "LegStopped", "PoolShare", "UnitDone", "run_leg"]

LegEvent = LegStart | LegWaits | UnitDone | LegEnd


def run_leg(
    store: Store, recipe: Recipe, leg: str, *, share: Partition | None = None, follow: bool = False
) -> Iterator[LegEvent]:
    """Run one leg until nothing is left to do; `follow`: until nothing more can come. `share`: of several drivers.

    Raises OtherRun, LegStopped; SIGINT and SIGTERM are the caller's.
    """
    if recipe.legs[leg].job is not None:
        from pipeline.dedup import run_dedup

        yield from run_dedup(store, recipe, leg)
        return
    started = time.monotonic()
    job = leg_job(store, recipe, leg)
    todo = Todo(store, recipe, leg, share or Partition())
    start = _leg_start(todo, job, recipe)
    if not start.units and not follow:
        _refuse_empty_plan(todo)
    yield start
    end = LegEnd(leg=leg, seconds=0.0, committed=0, undone=0)
    meter = LegMeter(RayMetrics(run_name(store.root)), start)
    size = recipe.execution.wave_units or wave_units(recipe)
    for wave in Waves(todo, size, follow, recipe.execution.follow_idle_s):
        if isinstance(wave, LegWaits):
            yield wave
            continue
        left = {info.unit_id: info.rows for info in wave}
        for event in work_wave(job, recipe, dict(left), end, meter):
            if event.error is None:
                del left[event.unit_id]
            yield event
        todo.given_up.update(left)
    meter.end()
    end.undone = todo.undone()
    _compact(store, job)
    if job.is_root:
        forget_leftovers(store, Path(job.cache_dir), leg)
    end.seconds = time.monotonic() - started
    yield end


def _compact(store: Store, job: LegJob) -> None:
    """Bring the leg's compacted files up to date, in a worker: row groups of 100,000 clips are no load for a driver."""
    import ray

    what = (store.root, job.leg, job.is_root)
    fault: Exception | None
    try:
        in_worker = ray.is_initialized()  # it is not where nothing was to do
        fault = ray.get(ray.remote(num_cpus=0)(_compact_or_say).remote(*what)) if in_worker else _compact_or_say(*what)
    except ray.exceptions.RayError as error:
        log.warning("leg %s is compacted here, for its worker died: %s", job.leg, " ".join(str(error).split())[:300])
        fault = _compact_or_say(*what)
    if fault is not None:
        raise fault


def _compact_or_say(root: str, leg: str, is_root: bool) -> Exception | None:
    """What went wrong, as it was raised: Ray would wrap it in a traceback."""
    try:
        compact.compact(Store(root), leg, root=is_root)
    except Exception as error:  # noqa: BLE001  raised again by the driver
        return error
    return None


def wave_units(recipe: Recipe) -> int:
    """Units of a wave where the recipe names no number.

    Large enough that waiting for the last units of one costs little, and that models, which each wave loads, are used
    long; small enough that what another driver has done meanwhile is seen.
    """
    cpus = recipe.execution.cpus or os.cpu_count() or 1
    if recipe.execution.ray_address is not None:
        import ray

        from pipeline.engine import ray_for

        ray_for(recipe)
        cpus = int(ray.cluster_resources().get("CPU", 1))
    return max(16 * cpus, 1024)


def _refuse_empty_plan(todo: Todo) -> None:
    """OtherRun unless it is only this share that has no units: of a small plan some have none."""
    root = todo.store.root
    if not plan_store.planned_parts(todo.store):
        raise OtherRun(f"{root} has no plan yet; start with: autorecap plan")
    if todo.share.of == 1:
        raise OtherRun(f"the plan of {root} has no clips; see why with: autorecap status {root}")


def _leg_start(todo: Todo, job: LegJob, recipe: Recipe) -> LegStart:
    """Sums over the plan, part by part."""
    sums: Counter[str] = Counter()
    for work in todo.parts():
        todo.refuse_other_plan(work)
        sums["units_done"] += len(work.done)
        sums["clips_done"] += sum(info.rows for info in work.done)
        for info in work.planned:
            sums.update(units=1, clips=info.rows, audio_ms=info.audio_ms)
    pools = [group for group in job.groups if group.pool is not None]
    return LegStart(
        leg=job.leg,
        **{name: sums[name] for name in ("units", "units_done", "clips", "clips_done", "audio_ms")},
        stages=tuple(use for group in job.groups for use, _ in group.stages),
        pools=tuple(
            PoolShare(str(group.pool), recipe.pool(str(group.pool)).workers, tuple(use for use, _ in group.stages))
            for group in pools
        ),
    )


def leg_job(store: Store, recipe: Recipe, leg: str) -> LegJob:
    """What workers must know of this leg; records the leg's definition in the run folder."""
    definition = recipe.legs[leg]
    recipe_sha256 = start_leg(store, recipe, leg)
    specs = [(spec.use, spec.options) for spec in definition.stages]
    groups = cut_into_groups(build_chain(definition), specs)
    keep = definition.keep_audio
    return LegJob(
        run_root=str(store.root),
        cache_dir=str(cache_dir(store, recipe)),
        leg=leg,
        after=definition.after,
        root_leg=recipe.root_leg,
        column_legs=column_legs(recipe, leg),
        recipe_sha256=recipe_sha256,
        groups=groups,
        ytdlp=json.dumps(ytdlp_options(recipe)),
        devices=tuple(_device(recipe, group.pool) for group in groups),
        threads=tuple(recipe.pool(group.pool).threads if group.pool else 1 for group in groups),
        keep_audio=keep if isinstance(keep, str) else tuple(keep or ()),
        stage_limit_s=recipe.execution.stage_limit_s,
        worker_max_memory_mb=recipe.execution.worker_max_memory_mb,
    )


def column_legs(recipe: Recipe, leg: str) -> tuple[str, ...]:
    """The legs that lie between the root leg and this one, in the order they ran."""
    between: list[str] = []
    before = recipe.legs[leg].after
    while before is not None and recipe.legs[before].after is not None:
        between.insert(0, before)
        before = recipe.legs[before].after
    return tuple(between)


def _device(recipe: Recipe, pool: str | None) -> str:
    """cuda where the pool is given (a share of) a GPU, or says nothing and the machine has one."""
    if pool is None:
        return "cpu"
    asked = recipe.pool(pool).gpus_per_worker
    if asked is not None:
        return "cuda" if asked > 0 else "cpu"
    from pipeline.engine import cluster_gpus

    return "cuda" if cluster_gpus(recipe) > 0 else "cpu"


def cache_dir(store: Store, recipe: Recipe) -> Path:
    """Where a node keeps media between fetch and cut; beside a local run, else in the node's temporary folder.

    On a cluster the run folder is shared storage: media there would cross the network twice.
    Each run has its own: one run drops a source's media while another may still be cutting it.
    """
    own = hashlib.sha256(str(store.root).encode()).hexdigest()[:16]
    if recipe.execution.cache_dir:
        return Path(recipe.execution.cache_dir).absolute() / own
    local = store.local("cache")
    if local is not None and recipe.execution.ray_address is None:
        return Path(local)
    # Named after the user: what somebody else has put below a shared temporary folder is not to be trusted.
    return Path(tempfile.gettempdir()) / f"autorecap-{os.getuid()}" / own


def ytdlp_options(recipe: Recipe) -> dict[str, Any]:
    """The recipe's `ytdlp` section with its paths made absolute."""
    options: dict[str, Any] = plain(recipe.ytdlp)
    options["plugin_dirs"] = [str(Path(folder).absolute()) for folder in options["plugin_dirs"]]
    for keys in (options, *options["sessions"]):
        if keys["cookies_file"]:
            keys["cookies_file"] = str(Path(keys["cookies_file"]).absolute())
    return options
