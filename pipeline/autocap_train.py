"""`autorecap autocap train`: one process, or several that Ray Train starts on this machine or a cluster.

Several workers write to one folder: on more than one machine OUT, the shards and the weights must be where all of them
see them, at the same path. A worker that dies takes the others down; Ray starts all again, and they go on from the
last whole checkpoint.
"""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from captioner.autocap.train_recipe import TrainRecipe
from captioner.load import CaptionerError
from pipeline.config import load_typed
from pipeline.stopping import Stopped, stoppable
from training.errors import TrainError

log = logging.getLogger(__name__)

#: In OUT: what a worker found wrong that only the user can mend.
FAULT = "fault.txt"
#: In OUT: what the first of Ray's workers tells.
WORKER_LOG = "train.log"
_LINE = "%(asctime)s %(message)s"


def autocap_train_verb(config: str, overrides: Sequence[str], out: str, *, resume: bool) -> int:
    from captioner.autocap.train import begin
    from pipeline.verbs import say

    recipe = load_typed(config, overrides, TrainRecipe)
    folder = Path(out).absolute()
    begin(recipe, folder, resume=resume)
    logging.basicConfig(level=logging.INFO, format=_LINE, datefmt="%H:%M:%S")
    several = recipe.execution.workers > 1 or recipe.execution.ray_address is not None
    try:
        steps = train_with_ray(recipe, folder) if several else train_here(recipe, folder)
    except Stopped as stopped:
        say(f"{stopped}; the last checkpoint is in {folder / 'checkpoints'}, go on with --resume")
        return stopped.exit_code
    say(f"{steps} steps done; the model is in {folder / 'model'}")
    clap = f" --clap {recipe.clap.model}" if recipe.clap.model else ""
    say(f"hear it:  autorecap caption FILE --model {folder / 'model'}{clap}")
    if recipe.keep.tensorboard:
        say(f"curves:   tensorboard --logdir {folder / 'tensorboard'}   (pip install tensorboard)")
    return 0


def train_here(recipe: TrainRecipe, out: Path) -> int:
    """In this process; the steps of the whole training. The first SIGINT or SIGTERM ends it after the step that runs,
    with a checkpoint, as Stopped; a second one ends the process at once.
    """
    from captioner.autocap.train import train

    asked: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if asked:
            os._exit(128 + number)
        asked.append(number)
        log.info("stopping after this step, with a checkpoint")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        trained = train(recipe, out, lambda: bool(asked))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if not trained.finished:
        raise Stopped(asked[0])
    return trained.steps


def train_with_ray(recipe: TrainRecipe, out: Path) -> int:
    """On `execution.workers` workers of Ray Train, each with its share of CPUs and GPUs; the steps of all of it."""
    from pipeline.engine import ensure_ray, stop_ray
    from training.shards import find_shards

    find_shards(recipe.data.shards, recipe.data.split)  # a wrong place is told now, not by workers in a minute
    e = recipe.execution
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    ensure_ray(e.ray_address, None if e.ray_address else max(2, math.ceil(e.workers * e.cpus_per_worker) + 1))
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig, TorchTrainer

    resources = {"CPU": e.cpus_per_worker, **({"GPU": e.gpus_per_worker} if e.gpus_per_worker else {})}
    trainer = TorchTrainer(
        ray_worker,
        train_loop_config={"recipe": at_home_everywhere(recipe.model_dump(mode="json")), "out": str(out)},
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
    return int(json.loads((out / "model" / "card.json").read_text())["trained"]["step"])


def ray_worker(config: dict[str, Any]) -> None:
    """What Ray Train runs in each worker, joined with the others in torch.distributed.

    A fault that is the user's to mend is left in a file: the restarts that Ray tries then end before they begin, and
    the command can say it in a sentence.
    """
    fault = Path(config["out"]) / FAULT
    if fault.exists():
        raise TrainError(fault.read_text())
    import ray.train.torch
    import torch

    from captioner.autocap.train import train

    if torch.cuda.is_available():
        torch.cuda.set_device(ray.train.torch.get_device())  # `device: auto` takes it
    if ray.train.get_context().get_world_rank() == 0:
        file = Path(config["out"]) / WORKER_LOG
        logging.basicConfig(level=logging.INFO, format=_LINE, datefmt="%H:%M:%S", filename=file, force=True)
    try:
        train(TrainRecipe.model_validate(config["recipe"]), Path(config["out"]))
    except (TrainError, CaptionerError) as error:
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


#: Keys of a training recipe under which a name may be a path of this machine.
PATH_KEYS = ("shards", "checkpoint", "htsat", "bart", "model", "cache_dir")


def at_home_everywhere(value: Any, key: str = "") -> Any:
    """Paths of this machine as absolute ones: a Ray worker has a working folder of its own."""
    if isinstance(value, dict):
        return {name: at_home_everywhere(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return [at_home_everywhere(one, key) for one in value]
    if not isinstance(value, str) or not value or key not in PATH_KEYS:
        return value
    return str(Path(value).absolute()) if key == "cache_dir" or Path(value).exists() else value


def _last_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
