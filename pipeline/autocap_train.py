"""`autorecap autocap train`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from captioner.autocap.train_recipe import TrainRecipe
from pipeline.config import load_typed
from pipeline.train_job import TrainJob, run_training
from training.folder import MODEL

#: Keys of a training recipe under which a name may be a path of this machine.
PATH_KEYS = ("shards", "checkpoint", "htsat", "bart", "model", "cache_dir")


def autocap_train_verb(config: str, overrides: Sequence[str], out: str, *, resume: bool) -> int:
    from captioner.autocap.train import train
    from training.shards import find_shards

    recipe = load_typed(config, overrides, TrainRecipe)
    folder = Path(out).absolute()
    job = TrainJob(recipe, folder, train, lambda: find_shards(recipe.data.shards, recipe.data.split), PATH_KEYS)
    clap = f" --clap {recipe.clap.model}" if recipe.clap.model else ""
    return run_training(job, resume=resume, then=f"hear it:  autorecap caption FILE --model {folder / MODEL}{clap}")
