"""Train AutoCap: from a recipe and shards to a folder that `load_captioner` reads.

    begin(recipe, out, resume=False)              # once, by whoever starts it
    train(recipe, out)                            # in each process that trains

OUT is as training/folder.py says; OUT/model and each checkpoint hold model.safetensors (averaged weights if the recipe
has them), card.json and the tokenizer. Knows nothing of Ray: pipeline/autocap_train.py starts several of it, joined in
torch.distributed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from captioner.autocap.frontend import SAMPLE_RATE_HZ
from captioner.autocap.train_clap import ClapTokens
from captioner.autocap.train_course import Clips, Course, plan_of
from captioner.autocap.train_data import captions_of
from captioner.autocap.train_lesson import Lesson
from captioner.autocap.train_measure import Measurer
from captioner.autocap.train_recipe import TrainRecipe
from captioner.autocap.train_start import start
from scorer.load import ClapOptions, Scorer, ScorerError, load_scorer
from scorer.weights import WeightsError
from training.crew import Crew, crew
from training.errors import TrainError
from training.folder import Trained, claim, newest_for
from training.loop import Training
from training.shards import Shards, find_shards, one_pass


def begin(recipe: TrainRecipe, out: Path, *, resume: bool) -> None:
    """Claim the folder for this recipe; TrainError when it holds another training, or one and `resume` is not asked."""
    claim(out, recipe.decisive(), resume=resume)


def train(recipe: TrainRecipe, out: Path, should_stop: Callable[[], bool] = lambda: False) -> Trained:
    """This process's part, from the last whole checkpoint of `out` or from the start. TrainError says what is wrong."""
    if recipe.execution.threads is not None:
        torch.set_num_threads(recipe.execution.threads)
    together = crew(recipe.execution.device)
    shards = find_shards(recipe.data.shards, recipe.data.split)
    resumed = newest_for(out, together)
    scorer = _scorer(recipe, together)
    clap_dim = None if scorer is None else scorer.embedding_dim
    net, tokenizer = start(recipe, clap_dim, _captions(shards), resumed)
    clap = None
    if net.shape.clap_dim is not None:
        cache = Path(recipe.clap.cache_dir) if recipe.clap.cache_dir else out / "clap_cache"
        clap = ClapTokens(scorer, net.shape.clap_dim, SAMPLE_RATE_HZ, cache)
    plan = plan_of(recipe, shards.clips, together.world)
    course = Course(Lesson(net, tokenizer, recipe), recipe, clap, _measurer(recipe, together, clap), plan)
    return Training(course, Clips(shards, recipe), plan, out, together, resumed).run(should_stop)


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
