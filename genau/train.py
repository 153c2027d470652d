"""Train GenAU's denoiser or VAE: from a recipe and shards to a model folder.

    begin(recipe, out, resume=False)              # once, by whoever starts it
    train(recipe, out)                            # in each process that trains

OUT is as training/folder.py says. Knows nothing of Ray: pipeline/genau_train.py starts several of it, joined in
torch.distributed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from genau.lesson_start import fit_training, vae_training
from genau.recipe import FitRecipe, VaeRecipe
from training.crew import Crew, crew
from training.folder import Trained, claim, newest_for
from training.lesson import Data, Lesson
from training.loop import Plan, Training

CAPTIONS = "captions"


def begin(recipe: FitRecipe | VaeRecipe, out: Path, *, resume: bool) -> None:
    """Claim the folder for this recipe; TrainError when it holds another training, or one and `resume` is not asked."""
    claim(out, recipe.decisive(), resume=resume)


def train(recipe: FitRecipe | VaeRecipe, out: Path, should_stop: Callable[[], bool] = lambda: False) -> Trained:
    """This process's part, from the last whole checkpoint of `out` or from the start. TrainError and WeightsError say
    what is wrong."""
    if recipe.execution.threads is not None:
        torch.set_num_threads(recipe.execution.threads)
    together = crew(recipe.execution.device)
    lesson, data = _lesson(recipe, out, together)
    plan = Plan(recipe.name, recipe.seed, recipe.loop, recipe.keep)
    return Training(lesson, data, plan, out, together, newest_for(out, together)).run(should_stop)


def _lesson(recipe: FitRecipe | VaeRecipe, out: Path, together: Crew) -> tuple[Lesson[Any, Any], Data[Any]]:
    if isinstance(recipe, VaeRecipe):
        return vae_training(recipe, together)
    return fit_training(recipe, out / CAPTIONS, together)
