"""Several workers of one training, which Ray Train starts on this machine or a cluster.

They write to one folder: on more than one machine OUT, the shards and the weights must be where all of them see them,
at the same path. A worker that dies takes the others down; Ray starts all again, and they go on from the last whole
checkpoint.
"""

from __future__ import annotations

import json
import logging
import math
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.stopping import stoppable
from training.checkpoint import newest
from training.errors import TrainError
from training.folder import CHECKPOINTS, LOOP_FILE

if TYPE_CHECKING:
    from pipeline.train_job import TrainJob

#: In OUT: what a worker found wrong that only the user can mend.
FAULT = "fault.txt"
#: In OUT: what the first of Ray's workers tells.
WORKER_LOG = "train.log"
LINE = "%(asctime)s %(message)s"


def train_with_ray(job: TrainJob) -> int:
    """On `execution.workers` workers, each with its share of CPUs and GPUs; the steps of all of it."""
    from pipeline.engine import ensure_ray, stop_ray

    job.check()  # a wrong place is told now, not by workers in a minute
    e, out = job.recipe.execution, job.out
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    ensure_ray(e.ray_address, None if e.ray_address else max(2, math.ceil(e.workers * e.cpus_per_worker) + 1))
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig, TorchTrainer

    resources = {"CPU": e.cpus_per_worker, **({"GPU": e.gpus_per_worker} if e.gpus_per_worker else {})}
    recipe = type(job.recipe).model_validate(at_home_everywhere(job.recipe.model_dump(mode="json"), job.path_keys))
    trainer = TorchTrainer(
        ray_worker,
        train_loop_config={"train": job.train, "recipe": recipe, "out": str(out)},
        torch_config=TorchConfig(backend="nccl" if e.gpus_per_worker else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=e.workers, use_gpu=bool(e.gpus_per_worker), resources_per_worker=resources
        ),
        run_config=RunConfig(name="ray", storage_path=str(out), failure_config=FailureConfig(max_failures=e.restarts)),
    )
    (out / FAULT).unlink(missing_ok=True)
    try:
        with stoppable(), following(out / WORKER_LOG):
            trainer.fit()
    except TrainingFailedError as error:
        if (out / FAULT).exists():
            raise TrainError((out / FAULT).read_text()) from error
        raise TrainError(f"the training stopped on Ray: {_last_line(error)}") from error
    finally:
        stop_ray()
    last = newest(out / CHECKPOINTS)
    return 0 if last is None else int(json.loads((last / LOOP_FILE).read_text())["step"])


def ray_worker(config: dict[str, Any]) -> None:
    """What Ray Train runs in each worker, joined with the others in torch.distributed.

    A fault that is the user's to mend is left in a file: the restarts that Ray tries then end before they begin, and
    the command can say it in a sentence.
    """
    out = Path(config["out"])
    fault = out / FAULT
    if fault.exists():
        raise TrainError(fault.read_text())
    import ray.train.torch
    import torch

    from pipeline.errors import known_errors

    if torch.cuda.is_available():
        torch.cuda.set_device(ray.train.torch.get_device())  # `device: auto` takes it
    if ray.train.get_context().get_world_rank() == 0:
        logging.basicConfig(level=logging.INFO, format=LINE, datefmt="%H:%M:%S", filename=out / WORKER_LOG, force=True)
    try:
        config["train"](config["recipe"], out)
    except known_errors() as error:
        fault.write_text(str(error))
        raise


@contextmanager
def following(path: Path) -> Iterator[None]:
    """What is added to a file while the block runs goes to stderr."""
    done = threading.Event()
    start = path.stat().st_size if path.exists() else 0

    def follow() -> None:
        at, last = start, False
        while not last:
            last = done.wait(0.5)
            if path.exists():
                with path.open("rb") as file:
                    file.seek(at)
                    new = file.read()
                at += len(new)
                sys.stderr.write(new.decode(errors="replace"))
                sys.stderr.flush()

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def at_home_everywhere(value: Any, path_keys: tuple[str, ...], key: str = "") -> Any:
    """Paths of this machine as absolute ones: a Ray worker has a working folder of its own.

    A path is what there is under a key of `path_keys`, also behind a word and a colon ("t5:models/flan"); a cache's
    folder need not be there yet.
    """
    if isinstance(value, dict):
        return {name: at_home_everywhere(one, path_keys, name) for name, one in value.items()}
    if isinstance(value, list):
        return [at_home_everywhere(one, path_keys, key) for one in value]
    if not isinstance(value, str) or not value or key not in path_keys:
        return value
    if key == "cache_dir" or Path(value).exists():
        return str(Path(value).absolute())
    kind, _, place = value.partition(":")
    is_path = place and not place.startswith("//") and Path(place).exists()
    return f"{kind}:{Path(place).absolute()}" if is_path else value


def _last_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
