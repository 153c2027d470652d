"""`autorecap genau train`: the denoiser or, by a recipe that says how a VAE is made, the VAE."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from genau.recipe import FitRecipe, VaeRecipe
from pipeline.config import load_typed, read_tree
from pipeline.train_job import TrainJob, run_training
from training.folder import MODEL

#: Keys of a recipe under which a name may be a path of this machine.
PATH_KEYS = (
    "shards", "checkpoint", "config", "vae", "vocoder", "encoders", "clap_tokenizer", "cache_dir", "perceptual_files",
)  # fmt: skip


def genau_train_verb(config: str, overrides: Sequence[str], out: str, *, resume: bool) -> int:
    from genau.train import train
    from generation.data import find_corpora

    recipe = read_recipe(config, overrides)
    folder = Path(out).absolute()
    job = TrainJob(recipe, folder, train, lambda: find_corpora(recipe.data), PATH_KEYS)
    then = f"use it:   autorecap genau encode SHARDS --out DIR --vae {folder / MODEL}"
    if isinstance(recipe, FitRecipe):
        then = f"hear it:  autorecap genau generate --prompt TEXT --out DIR --model {folder / MODEL}"
    return run_training(job, resume=resume, then=then)


def read_recipe(config: str, overrides: Sequence[str]) -> FitRecipe | VaeRecipe:
    """RecipeError lists every mistake. A recipe with the section `loss` is the VAE's: only that has losses to weigh."""
    tree, _ = read_tree(config, overrides)
    if "loss" in tree:
        return load_typed(config, overrides, VaeRecipe)
    return load_typed(config, overrides, FitRecipe)
