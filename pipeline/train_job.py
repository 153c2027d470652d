"""`autorecap autocap train` and `autorecap genau train`: one process, torchrun's, or several that Ray Train starts."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from pipeline.ray_training import LINE, train_with_ray
from pipeline.stopping import Stopped
from pipeline.verbs import say
from training.errors import TrainError
from training.folder import CHECKPOINTS, MODEL, Trained, claim

if TYPE_CHECKING:
    from training.crew import Crew

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainJob:
    """A training, whatever of. `recipe`: a typed one with `execution`, `keep` and `decisive()`."""

    recipe: Any
    out: Path
    #: (recipe, out) and (recipe, out, should_stop): this process's part. A function that workers can import.
    train: Callable[..., Trained]
    #: Finds what is wrong for all workers before they are started.
    check: Callable[[], object]
    #: Keys of the recipe under which a name may be a path of this machine.
    path_keys: tuple[str, ...]


def run_training(job: TrainJob, *, resume: bool, then: str) -> int:
    """The verb: claims OUT, trains, tells where the model is and what to do with it (`then`); the exit code."""
    from training.crew import crew, joined_from_env

    execution = job.recipe.execution
    several = execution.workers > 1 or execution.ray_address is not None
    with joined_from_env():
        together = crew("cpu")
        if together.leads:
            logging.basicConfig(level=logging.INFO, format=LINE, datefmt="%H:%M:%S")
        _claim(job, together, resume)
        try:
            steps = train_with_ray(job) if several and together.world == 1 else train_here(job)
        except Stopped as stopped:
            say(f"{stopped}; the last checkpoint is in {job.out / CHECKPOINTS}, go on with --resume")
            return stopped.exit_code
    if together.leads:
        say(f"{steps} steps done; the model is in {job.out / MODEL}")
        say(then)
        if job.recipe.keep.tensorboard:
            say(f"curves:   tensorboard --logdir {job.out / 'tensorboard'}   (pip install tensorboard)")
    return 0


def _claim(job: TrainJob, together: Crew, resume: bool) -> None:
    """The first of torchrun's processes looks, all hear what it has found."""
    fault = ""
    if together.leads:
        try:
            claim(job.out, job.recipe.decisive(), resume=resume)
        except TrainError as error:
            fault = str(error)
    fault = together.gathered(fault)[0]
    if fault:
        raise TrainError(fault)


def train_here(job: TrainJob) -> int:
    """In this process; the steps of the whole training. The first SIGINT or SIGTERM ends it after the step that runs,
    with a checkpoint, as Stopped; a second one ends the process at once.
    """
    asked: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if asked:
            os._exit(128 + number)
        asked.append(number)
        log.info("stopping after this step, with a checkpoint")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        trained = job.train(job.recipe, job.out, lambda: bool(asked))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if not trained.finished:
        raise Stopped(asked[0] if asked else signal.SIGTERM)  # another worker was asked
    return trained.steps
