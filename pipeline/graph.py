"""The Ray graph of a leg: a step for each group of stages, whole units as blocks, one summary row out.

    unit id ─ task: read, stages ─► unit table ─ actor pool (models) ─► ─ task: stages, commit ─► summary row

Ray's own tasks and actors under a small loop (pipeline/flow.py) instead of Ray Data: a third of its cost for each unit
(docs/adr/0011-ray-core.md). Why actors ask for no CPU when there is no GPU: pools that reserve CPUs next to tasks that
need them hang on small machines (measured; see docs/adr/0002-ray-data.md).

A unit whose worker dies is tried again here, but for the last of its tries; then its summary row says that it is lost,
and pipeline/wave.py has it worked by itself (docs/crashes.md).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.config import Execution, Pool
from pipeline.flow import PER_ACTOR, PoolStep, Slots, Step, TaskStep, flow
from pipeline.isolate import COMMIT, READ
from pipeline.legjob import LegJob, commit, read_unit_or_say
from pipeline.lost import LostUnits
from pipeline.recycle import MAX_CALLS, Wear, leave_actor, leave_after_task
from pipeline.tries import SPARE, Tries
from pipeline.watchdog import process_watch
from pipeline.worker import STAGE, UnitRunner, give_up, given_up, work_id_of

#: Reading is counted like a group of stages, before the first.
READING = -1


def run_wave(
    job: LegJob, unit_ids: Sequence[str], execution: Execution, pools: dict[str, Pool]
) -> Iterator[dict[str, Any]]:
    """Run a wave of units and yield their summary rows as they are committed, in any order. Raises TooManyLost."""
    task = task_resources(job, execution)
    slots = Slots({"CPU": task["num_cpus"], **task.get("resources", {})})
    steps = _steps(job, execution, pools, slots)
    lost = LostUnits()
    for unit_id, made, error in flow(steps, unit_ids, lambda: _most_in_flight(job, pools, slots)):
        if made is None:
            assert error is not None
            lost.gone(unit_id, error)
            continue
        for row in made.to_pylist():
            lost.see(row["lost"])
            yield row


def _most_in_flight(job: LegJob, pools: dict[str, Pool], slots: Slots) -> int:
    """Units: where the models come first, only as many are read as keep them busy while others are committed."""
    for_actors = sum(PER_ACTOR * pools[group.pool].workers for group in job.groups if group.pool)
    return 2 * for_actors if job.groups[0].pool else slots.most() + for_actors


def _steps(job: LegJob, execution: Execution, pools: dict[str, Pool], slots: Slots) -> list[Step]:
    """The first step reads; it has the first group's stages, too, if they are tasks."""
    import ray

    tries = max(execution.task_retries, 1)  # the last try is pipeline/trial.py's, which sees how it dies
    retries = tries + SPARE
    wave = uuid.uuid4().hex
    task = {"max_retries": retries, "max_calls": MAX_CALLS, **task_resources(job, execution)}
    steps: list[Step] = []
    if job.groups[0].pool is not None:
        options = {**task, "name": f"{job.leg}: {READ}"}
        steps.append(TaskStep(ray.remote(**options)(_read), (job, wave, tries), slots, first=True))
    for at, group in enumerate(job.groups):
        if group.pool is None:
            function = _read_and_work if at == 0 else _in_task
            options = {**task, "name": f"{job.leg}: {', '.join(use for use, _ in group.stages)}"}  # ps and dashboards
            options |= {"scheduling_strategy": "SPREAD"} if at == 0 else {}
            steps.append(TaskStep(ray.remote(**options)(function), (job, at, wave, tries), slots, first=at == 0))
        else:
            pool = pools[group.pool]
            actor = ray.remote(
                max_restarts=-1, max_task_retries=retries, scheduling_strategy="SPREAD", **pool_resources(job, at, pool)
            )(ModelWorker)
            steps.append(PoolStep([actor.remote(job, at, wave, tries) for _ in range(pool.workers)]))
    return steps


def task_resources(job: LegJob, execution: Execution) -> dict[str, Any]:
    """What Ray reserves for a task."""
    own = execution.task_resources.get(job.leg)
    return {"num_cpus": execution.cpus_per_task, **({"resources": own} if own else {})}


def pool_resources(job: LegJob, group: int, pool: Pool) -> dict[str, Any]:
    """What Ray reserves for one worker of the pool, and the interpreter that it runs in."""
    asked: dict[str, Any] = {"num_cpus": pool.cpus_per_worker or 0}
    if pool.resources:
        asked["resources"] = pool.resources
    if job.devices[group] == "cuda":
        asked["num_gpus"] = 1.0 if pool.gpus_per_worker is None else pool.gpus_per_worker
    if pool.python is not None:
        asked["runtime_env"] = {"py_executable": str(Path(pool.python).absolute())}
    return asked


def _read(unit_id: str, job: LegJob, wave: str, limit: int) -> pa.Table:
    """The unit's table, or one row that says that it is given up or cannot be read."""
    with _tries(job.run_root, wave, READING, limit).begun(unit_id) as may:
        if not may:
            return given_up(unit_id)
        with process_watch(job.run_root)(STAGE + READ, unit_id, limit_s=job.stage_limit_s):
            return read_unit_or_say(job, unit_id)


class _Worker:
    """What a worker process keeps of a group between units: its stages, open, and how it has grown."""

    def __init__(self, job: LegJob, group: int) -> None:
        self._job, self._is_last = job, group == len(job.groups) - 1
        self._watch = process_watch(job.run_root)
        services = replace(job.services(group), watch=self._watch)
        self._runner = UnitRunner(job.links(group), services, job.stage_limit_s)
        self._wear = Wear(job.worker_max_memory_mb)

    def work(self, unit: pa.Table, tries: Tries) -> pa.Table:
        """The group's share of the chain; the last group commits and answers with one summary row.

        A unit that has been begun as often as it may, and was never ended, is given up instead.
        """
        with tries.begun(work_id_of(unit)) as may:
            unit = self._runner.run(unit) if may else give_up(unit)
            if not self._is_last:
                return unit
            with self._watch(STAGE + COMMIT, limit_s=self._job.stage_limit_s):
                return commit(self._job, unit)

    def is_worn(self) -> bool:
        return self._wear.is_worn()


@lru_cache(maxsize=8)
def _worker(job: LegJob, group: int) -> _Worker:
    """Stages stay open for the life of a worker process."""
    return _Worker(job, group)


@lru_cache(maxsize=8)
def _tries(run_root: str, wave: str, group: int, limit: int) -> Tries:
    return Tries(run_root, wave, group, limit)


def _read_and_work(unit_id: str, job: LegJob, group: int, wave: str, limit: int) -> pa.Table:
    return _in_task(_read(unit_id, job, wave, limit), job, group, wave, limit)


def _in_task(unit: pa.Table, job: LegJob, group: int, wave: str, limit: int) -> pa.Table:
    worker = _worker(job, group)
    done = worker.work(unit, _tries(job.run_root, wave, group, limit))
    if worker.is_worn():
        leave_after_task()
    return done


class ModelWorker:
    """A worker that holds models; Ray makes one per member of the pool."""

    def __init__(self, job: LegJob, group: int, wave: str, limit: int) -> None:
        self._worker = _Worker(job, group)
        self._tries = Tries(job.run_root, wave, group, limit)
        self._is_worn = False

    def work(self, unit: pa.Table) -> pa.Table:
        if self._is_worn:
            leave_actor()
        done = self._worker.work(unit, self._tries)
        self._is_worn = self._worker.is_worn()
        return done
