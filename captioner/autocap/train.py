"""Train AutoCap: from a recipe and shards to a folder that `load_captioner` reads.

    begin(recipe, out, resume=False)              # once, by whoever starts it
    train(recipe, out)                            # in each process that trains

    OUT/recipe.json      what is trained; another recipe is refused here
    OUT/checkpoints/     step-00001000 …, each whole or not there (training/checkpoint.py)
    OUT/losses.jsonl     the curve; OUT/tensorboard the same to look at
    OUT/model/           at the end: model.safetensors, card.json, tokenizer; averaged weights if the recipe has them

Knows nothing of Ray: pipeline/autocap_train.py starts several of it, joined in torch.distributed.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from captioner.autocap.frontend import SAMPLE_RATE_HZ
from captioner.autocap.train_clap import ClapTokens
from captioner.autocap.train_data import captions_of
from captioner.autocap.train_lesson import Lesson
from captioner.autocap.train_loop import CHECKPOINTS, Training
from captioner.autocap.train_measure import Measurer
from captioner.autocap.train_recipe import TrainRecipe
from captioner.autocap.train_start import start
from captioner.autocap.train_weights import write_model
from corpus.differences import differences
from corpus.store import Store
from scorer.load import ClapOptions, Scorer, ScorerError, load_scorer
from scorer.weights import WeightsError
from training.checkpoint import newest, put_folder, sweep
from training.crew import Crew, crew
from training.errors import TrainError
from training.shards import Shards, find_shards, one_pass

log = logging.getLogger(__name__)

RECIPE, MODEL = "recipe.json", "model"


@dataclass(frozen=True)
class Trained:
    """How a training ended: `finished`, or stopped with a checkpoint to go on from."""

    finished: bool
    step: int
    steps: int
    out: Path


def begin(recipe: TrainRecipe, out: Path, *, resume: bool) -> None:
    """Claim the folder for this recipe; TrainError when it holds another training, or one and `resume` is not asked.

    A training that came to no checkpoint (a wrong path, most likely) holds no folder.
    """
    record = out / RECIPE
    if record.exists() and any((out / CHECKPOINTS).glob("step-*")):
        lines = differences(json.loads(record.read_text()), recipe.decisive())
        if lines:
            told = "\n  ".join([f"{out} holds another training:", *lines, "use another folder for this one"])
            raise TrainError(told)
        if not resume:
            raise TrainError(f"{out} holds this training already; --resume goes on with it")
    elif out.is_dir() and any(out.iterdir()) and not record.exists():
        raise TrainError(f"{out} is not empty and holds no training; use another folder")
    Store(out).replace(RECIPE, (json.dumps(recipe.decisive(), indent=2) + "\n").encode())


def train(recipe: TrainRecipe, out: Path, should_stop: Callable[[], bool] = lambda: False) -> Trained:
    """This process's part, from the last whole checkpoint of `out` or from the start. TrainError says what is wrong."""
    if recipe.execution.threads is not None:
        torch.set_num_threads(recipe.execution.threads)
    together = crew(recipe.execution.device)
    shards = find_shards(recipe.data.shards, recipe.data.split)
    resumed = _newest(out, together)
    scorer = _scorer(recipe, together)
    clap_dim = None if scorer is None else scorer.embedding_dim
    net, tokenizer = start(recipe, clap_dim, _captions(shards), resumed)
    lesson = Lesson(net, tokenizer, recipe).to(together.device)
    clap = None
    if net.shape.clap_dim is not None:
        cache = Path(recipe.clap.cache_dir) if recipe.clap.cache_dir else out / "clap_cache"
        clap = ClapTokens(scorer, net.shape.clap_dim, SAMPLE_RATE_HZ, cache)
    training = Training(lesson, recipe, shards, out, together, clap)
    if resumed is not None:
        training.load(resumed)
    if together.leads:
        log.info(
            "%d clips in %d shards; %d steps of %d clips on %d x %s",
            shards.clips, len(shards.shards), training.steps, training.step_clips, together.world, together.device,
        )  # fmt: skip
    finished = training.run(_measurer(recipe, together, clap), should_stop)
    if finished:
        _finish(training, out)
    return Trained(finished, training.step, training.steps, out)


def _newest(out: Path, together: Crew) -> Path | None:
    """One looks, the others take what it has found: all go on from the same."""
    if together.leads:
        sweep(out / CHECKPOINTS)
    found: Path | None = together.gathered(newest(out / CHECKPOINTS) if together.leads else None)[0]
    return found


def _scorer(recipe: TrainRecipe, together: Crew) -> Scorer | None:
    if recipe.clap.model is None:
        return None
    options = ClapOptions(tokenizer=recipe.clap.tokenizer)
    try:
        return load_scorer(recipe.clap.model, str(together.device), torch.get_num_threads(), options)
    except (ScorerError, WeightsError) as error:
        raise TrainError(f"clap.model: {error}") from error


def _captions(shards: Shards) -> Iterator[str]:
    for sample in one_pass(shards):
        yield from captions_of(sample)


def _measurer(recipe: TrainRecipe, together: Crew, clap: ClapTokens | None) -> Measurer | None:
    if not recipe.validation.shards:
        return None
    return Measurer(find_shards(recipe.validation.shards, recipe.validation.split), recipe, together, clap)


def _finish(training: Training, out: Path) -> None:
    if training.crew.leads:
        with nullcontext() if training.ema is None else training.ema.in_place():
            put_folder(
                out / MODEL,
                lambda folder: write_model(folder, training.net, training.lesson.tokenizer, training.card()),
            )
        log.info("the model is in %s", out / MODEL)
    training.crew.wait()
