"""The Ray graph of a leg: one read task a unit, whole blocks, a map per group, one summary row out.

    unit ids ─ read task ─► unit table ─ task stages ─► ─ actor pool (models) ─► commit ─► summary row

Why an own Datasource: Ray's Parquet reader merges small files into one block and splits large ones; here a unit is
one block, one unit of work, retry and commit. Why actors ask for no CPU when there is no GPU: pools that reserve
CPUs next to tasks that need them hang on small machines (measured; see docs/adr/0002-ray-data.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.config import Execution, Pool
from pipeline.legjob import LegJob, read_unit_or_say, run_group
from pipeline.worker import UnitRunner


def run_wave(
    job: LegJob, unit_ids: Sequence[str], execution: Execution, pools: dict[str, Pool]
) -> Iterator[dict[str, Any]]:
    """Run a wave of units and yield their summary rows as they are committed, in any order."""
    import ray

    from pipeline.engine import quiet_data_context

    quiet_data_context()
    task = _task_resources(job, execution)
    data = ray.data.read_datasource(
        _units(job, list(unit_ids)),
        override_num_blocks=len(unit_ids),
        ray_remote_args={"max_retries": execution.task_retries},
        **task,
    )
    for at, group in enumerate(job.groups):
        if group.pool is None:
            data = data.map_batches(
                _in_task,
                fn_args=(job, at),
                batch_size=None,
                batch_format="pyarrow",
                zero_copy_batch=True,
                max_retries=execution.task_retries,
                **task,
            )
        else:
            data = data.map_batches(
                _InActor,
                fn_constructor_args=(job, at),
                batch_size=None,
                batch_format="pyarrow",
                zero_copy_batch=True,
                compute=ray.data.ActorPoolStrategy(size=pools[group.pool].workers, max_tasks_in_flight_per_actor=2),
                max_task_retries=execution.task_retries,
                **_resources(job, at, pools[group.pool]),
            )
    for batch in data.iter_batches(batch_size=1, batch_format="pyarrow", prefetch_batches=0):
        yield from batch.to_pylist()


def _task_resources(job: LegJob, execution: Execution) -> dict[str, Any]:
    """What Ray reserves for a task; the same for reading and for stages, or Ray Data would not fuse the two."""
    own = execution.task_resources.get(job.leg)
    return {"num_cpus": execution.cpus_per_task, **({"resources": own} if own else {})}


def _resources(job: LegJob, group: int, pool: Pool) -> dict[str, Any]:
    """What Ray reserves for one worker of the pool, and the interpreter that it runs in."""
    asked: dict[str, Any] = {"num_cpus": pool.cpus_per_worker or 0}
    if pool.resources:
        asked["resources"] = pool.resources
    if job.devices[group] == "cuda":
        asked["num_gpus"] = 1.0 if pool.gpus_per_worker is None else pool.gpus_per_worker
    if pool.python is not None:
        asked["runtime_env"] = {"py_executable": str(Path(pool.python).absolute())}
    return asked


def _units(job: LegJob, unit_ids: list[str]) -> Any:
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
            return [ReadTask(_Reader(job, unit_id), nothing_known) for unit_id in unit_ids]

    return Units()


class _Reader:
    """One read task: one unit, one block."""

    def __init__(self, job: LegJob, unit_id: str) -> None:
        self._job, self._unit_id = job, unit_id

    def __call__(self) -> list[pa.Table]:
        return [read_unit_or_say(self._job, self._unit_id)]


@lru_cache(maxsize=8)
def _runner(job: LegJob, group: int) -> UnitRunner:
    """Stages stay open for the life of a worker process."""
    return UnitRunner(job.links(group), job.services(group))


def _in_task(unit: pa.Table, job: LegJob, group: int) -> pa.Table:
    return run_group(job, group, unit, _runner(job, group))


class _InActor:
    """A worker that holds models; Ray makes one per member of the pool."""

    def __init__(self, job: LegJob, group: int) -> None:
        self._job, self._group = job, group
        self._stages = UnitRunner(job.links(group), job.services(group))

    def __call__(self, unit: pa.Table) -> pa.Table:
        return run_group(self._job, self._group, unit, self._stages)
