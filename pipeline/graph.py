"""The Ray graph of a leg: one read task a unit, whole blocks, a map per group, one summary row out.

    unit ids ─ read task ─► unit table ─ task stages ─► ─ actor pool (models) ─► commit ─► summary row

Why an own Datasource: Ray's Parquet reader merges small files into one block and splits large ones; here a unit is
one block, one unit of work, retry and commit. Why actors ask for no CPU when there is no GPU: pools that reserve
CPUs next to tasks that need them hang on small machines (measured; see docs/adr/0002-ray-data.md).

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
from pipeline.isolate import COMMIT, READ
from pipeline.legjob import LegJob, commit, read_unit_or_say
from pipeline.lost import LostBlocks
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
    import ray

    from pipeline.engine import quiet_data_context

    quiet_data_context()
    task = task_resources(job, execution)
    tries = max(execution.task_retries, 1)  # the last try is pipeline/trial.py's, which sees how it dies
    retries = tries + SPARE
    wave = uuid.uuid4().hex
    data = ray.data.read_datasource(
        _units([_Reader(job, unit_id, wave, tries) for unit_id in unit_ids]),
        override_num_blocks=len(unit_ids),
        ray_remote_args={"max_retries": retries, "max_calls": MAX_CALLS},
        **task,
    )
    for at, group in enumerate(job.groups):
        if group.pool is None:
            data = data.map_batches(
                _in_task,
                fn_args=(job, at, wave, tries),
                batch_size=None,
                batch_format="pyarrow",
                zero_copy_batch=True,
                max_retries=retries,
                max_calls=MAX_CALLS,
                **task,
            )
        else:
            data = data.map_batches(
                _InActor,
                fn_constructor_args=(job, at, wave, tries),
                batch_size=None,
                batch_format="pyarrow",
                zero_copy_batch=True,
                compute=ray.data.ActorPoolStrategy(size=pools[group.pool].workers, max_tasks_in_flight_per_actor=2),
                max_task_retries=retries,
                **pool_resources(job, at, pools[group.pool]),
            )
    with LostBlocks() as lost:
        for batch in data.iter_batches(batch_size=1, batch_format="pyarrow", prefetch_batches=0):
            for row in batch.to_pylist():
                lost.see(row["lost"])
                yield row


def task_resources(job: LegJob, execution: Execution) -> dict[str, Any]:
    """What Ray reserves for a task; the same for reading and for stages, or Ray Data would not fuse the two."""
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


def _units(readers: list[_Reader]) -> Any:
    """The Datasource; made inside a function so that this module can be imported without Ray."""
    from ray.data.block import BlockMetadata
    from ray.data.datasource import Datasource, ReadTask

    class Units(Datasource):
        def get_name(self) -> str:
            return "Units"

        def estimate_inmemory_data_size(self) -> int | None:
            return None

        def get_read_tasks(self, parallelism: int, *args: Any, **kwargs: Any) -> list[Any]:
            nothing_known = BlockMetadata(num_rows=None, size_bytes=None, exec_stats=None, input_files=None)
            return [ReadTask(reader, nothing_known) for reader in readers]

    return Units()


class _Reader:
    """One read task: one unit, one block."""

    def __init__(self, job: LegJob, unit_id: str, wave: str, limit: int) -> None:
        self._job, self._unit_id, self._wave, self._limit = job, unit_id, wave, limit

    def __call__(self) -> list[pa.Table]:
        run_root, unit_id = self._job.run_root, self._unit_id
        with _tries(run_root, self._wave, READING, self._limit).begun(unit_id) as may:
            if not may:
                return [given_up(unit_id)]
            with process_watch(run_root)(STAGE + READ, unit_id, limit_s=self._job.stage_limit_s):
                return [read_unit_or_say(self._job, unit_id)]


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


def _in_task(unit: pa.Table, job: LegJob, group: int, wave: str, limit: int) -> pa.Table:
    worker = _worker(job, group)
    done = worker.work(unit, _tries(job.run_root, wave, group, limit))
    if worker.is_worn():
        leave_after_task()
    return done


class _InActor:
    """A worker that holds models; Ray makes one per member of the pool."""

    def __init__(self, job: LegJob, group: int, wave: str, limit: int) -> None:
        self._worker = _Worker(job, group)
        self._tries = Tries(job.run_root, wave, group, limit)
        self._is_worn = False

    def __call__(self, unit: pa.Table) -> pa.Table:
        if self._is_worn:
            leave_actor()
        done = self._worker.work(unit, self._tries)
        self._is_worn = self._worker.is_worn()
        return done
