"""`autorecap autocap train`: one process, or several that Ray Train starts on this machine or a cluster.

Several workers write to one folder: on more than one machine OUT, the shards and the weights must be where all of them
see them, at the same path. A worker that dies takes the others down; Ray starts all again, and they go on from the
last whole checkpoint.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from captioner.autocap.train_recipe import TrainError, TrainRecipe
from pipeline.config import load_typed

log = logging.getLogger(__name__)


def autocap_train_verb(config: str, overrides: Sequence[str], out: str, *, resume: bool) -> int:
    from captioner.autocap.train import begin
    from pipeline.verbs import say

    recipe = load_typed(config, overrides, TrainRecipe)
    folder = Path(out).absolute()
    begin(recipe, folder, resume=resume)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    several = recipe.execution.workers > 1 or recipe.execution.ray_address is not None
    trained = train_with_ray(recipe, folder) if several else train_here(recipe, folder)
    if not trained["finished"]:
        say(f"stopped after step {trained['step']} of {trained['steps']}; go on with --resume")
        return 1
    say(f"{trained['steps']} steps done; the model is in {folder / 'model'}")
    say(f"hear it:  autorecap caption FILE --model {folder / 'model'}")
    say(f"curves:   tensorboard --logdir {folder / 'tensorboard'}   (pip install tensorboard)")
    return 0


def train_here(recipe: TrainRecipe, out: Path) -> dict[str, Any]:
    """In this process. The first SIGINT or SIGTERM ends it after the step that runs, with a checkpoint."""
    from captioner.autocap.train import train

    with stopping() as asked:
        trained = train(recipe, out, asked.is_set)
    return {"finished": trained.finished, "step": trained.step, "steps": trained.steps}


class stopping:  # noqa: N801 - used as a function is
    """Signals set an event; a second one ends the process at once."""

    def __enter__(self) -> threading.Event:
        import signal

        asked = threading.Event()

        def handle(number: int, frame: Any) -> None:
            if asked.is_set():
                os._exit(128 + number)
            log.info("stopping after this step, with a checkpoint")
            asked.set()

        self._before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
        return asked

    def __exit__(self, *_: object) -> None:
        import signal

        for number, handler in self._before.items():
            signal.signal(number, handler)


def train_with_ray(recipe: TrainRecipe, out: Path) -> dict[str, Any]:
    """On `execution.workers` workers of Ray Train, each with its share of CPUs and GPUs."""
    from pipeline.engine import ensure_ray, stop_ray

    e = recipe.execution
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    ensure_ray(e.ray_address, None if e.ray_address else max(2, round(e.workers * e.cpus_per_worker) + 1))
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    resources = {"CPU": e.cpus_per_worker, **({"GPU": e.gpus_per_worker} if e.gpus_per_worker else {})}
    trainer = TorchTrainer(
        ray_worker,
        train_loop_config={"recipe": recipe.model_dump(mode="json"), "out": str(out)},
        torch_config=TorchConfig(backend="nccl" if e.gpus_per_worker else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=e.workers, use_gpu=bool(e.gpus_per_worker), resources_per_worker=resources
        ),
        run_config=RunConfig(name="ray", storage_path=str(out), failure_config=FailureConfig(max_failures=e.restarts)),
    )
    try:
        result = trainer.fit()
    except Exception as error:
        raise TrainError(f"the training stopped on Ray: {_first_cause(error)}") from error
    finally:
        stop_ray()
    return dict(result.metrics or {})


def ray_worker(config: dict[str, Any]) -> None:
    """What Ray Train runs in each worker."""
    import ray.train

    from captioner.autocap.train import train

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    trained = train(TrainRecipe.model_validate(config["recipe"]), Path(config["out"]))
    ray.train.report({"finished": trained.finished, "step": trained.step, "steps": trained.steps})


def _first_cause(error: BaseException) -> str:
    """The innermost message of a chain of wrapped errors."""
    while (inner := getattr(error, "cause", None) or error.__cause__) is not None:
        error = inner
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
