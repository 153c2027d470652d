"""Recipes of the repository, made small, with shards of tones to learn from: FOLDER/recipe.yaml, FOLDER/shards."""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.small_shards import KINDS, sample, tone, write_shard
from tests.sound_shards import write_corpus

CONFIGS = Path(__file__).parents[1] / "configs"


def autocap(folder):
    """A captioner of a few thousand numbers, on two shards of four clips: four steps an epoch."""
    kinds = list(KINDS.items())
    for shard in range(2):
        numbers = range(4 * shard, 4 * shard + 4)
        clips = [sample(f"{n:04d}", kinds[n % 3][0], tone(kinds[n % 3][1], seed=n)) for n in numbers]
        write_shard(folder / f"shards/{shard:05d}.tar", clips)
    tree = yaml.safe_load((CONFIGS / "autocap_tiny.yaml").read_text())
    tree["start"]["small"] |= {"tower_width": 8, "queries": 8, "query_width": 32, "width": 64, "layers": 1}
    tree["data"]["shards"] = [str(folder / "shards")]
    tree["validation"]["shards"] = []
    tree["optimizer"] |= {"epochs": 1.0, "warmup_epochs": 0.2, "batch_clips": 2}
    tree["keep"] |= {"every_steps": 1, "tensorboard": False}
    return _written(folder, tree)


def genau(folder):
    """A denoiser of a few thousand numbers, three steps on a shard of eight clips."""
    write_corpus(folder / "shards", shards=1)
    tree = yaml.safe_load((CONFIGS / "genau_tiny.yaml").read_text())
    tree["net"] |= {"patch_width": 32, "latent_width": 32, "latents": 16, "blocks": 1, "context_width": 32}
    tree["data"]["kind"] = "waves"
    tree["data"]["corpora"] = [{"shards": [str(folder / "shards")]}]
    tree["validation"] |= {"corpora": [], "prompts": []}
    tree["batch_clips"] = 2
    tree["loop"]["steps"] = 3
    tree["keep"] |= {"every_steps": 2, "tensorboard": False}
    return _written(folder, tree)


def _written(folder, tree):
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path
