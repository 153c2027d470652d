"""A small denoiser and a small VAE as two processes learn them that meet as torchrun's do.

    run_two("tests.genau_workers", "main", OUT)

OUT/ddp, OUT/fsdp    the denoiser, which one worker with two passes a step learns just so
OUT/vae              the VAE with its discriminator; OUT/vae/ranks.json: what each worker has of it at the end
"""

from __future__ import annotations

import hashlib
import json
import zlib
from pathlib import Path

import torch

from genau.fit import Fit, FitShape
from genau.lesson_fit import FitInputs, FitLesson
from genau.lesson_start import vae_training
from genau.recipe import FitRecipe, VaeRecipe
from generation.conditioners.datasets import DatasetIds
from tests.genau_small import Words
from tests.sound_shards import write_corpus
from training.crew import crew, joined_from_env
from training.folder import newest_for
from training.lesson import Batch, Ready
from training.loop import Plan, Training

SHAPE = FitShape(
    channels=8, steps=32, patch=2, group=8, patch_width=32, latent_width=48, latents=8, blocks=2, local_layers=1,
    global_layers=1, context_width=32, text_width=24, datasets=4, head_width=16, dropout=0.0,
)  # fmt: skip
ONE_CLIP = {
    "name": "small", "batch_clips": 1, "optimizer": {"type": "adamw", "clip_norm": 1.0},
    "schedule": {"type": "constant", "peak_rate": 3e-3}, "data": {"corpora": [{"shards": "none"}], "loader_workers": 0},
    "keep": {"every_steps": 2, "validate_every_steps": 100, "tensorboard": False},
}  # fmt: skip


class Latents:
    """Clip n is drawn from n; with several workers each has every so many-th."""

    clips, batch_clips = 64, 1

    def batches(self, place, *, rank, world):
        at = place or 0
        while True:
            n = at * world + rank
            draw = torch.Generator().manual_seed(n)
            mean, text = torch.randn(1, 8, 32, generator=draw), torch.randn(1, 24, generator=draw)
            at += 1
            yield Batch(FitInputs(mean, mean.abs() / 9, text, torch.eye(4)[n % 3][None]), 1, at)


class Repeatable(FitLesson):
    """What is drawn for a clip depends on the clip, not on the worker."""

    def ready(self, clips, device):
        return Ready(clips, weight=len(clips))

    def loss(self, turn, inputs, step):
        torch.manual_seed(zlib.crc32(inputs.mean.numpy().tobytes()) + step)
        return super().loss(turn, inputs, step)


def fit(out, steps, should_stop=lambda: False, **loop):
    """Steps of two clips by whoever there is, from the last checkpoint on."""
    torch.manual_seed(0)
    how = {"loop": {"steps": steps, "ema_decay": 0.9, **loop}, "diffusion": {"scale_factor": 1.5}}
    recipe = FitRecipe.model_validate(ONE_CLIP | how | {"text": {"encoders": ["embedded"]}})
    ids = DatasetIds({}, 4)
    lesson = Repeatable(Fit(SHAPE), recipe, codec=None, text=Words(SHAPE.text_width), ids=ids)
    return lesson, learn(lesson, Latents(), recipe, out, should_stop)


def vae(out, steps):
    if crew("cpu").leads:
        write_corpus(out / "shards", shards=1, each=6)
    crew("cpu").wait()
    sizes = {"width": 32, "multipliers": [1, 1], "res_blocks": 1, "z_channels": 8, "latent_channels": 4}
    how = {"loop": {"steps": steps}, "net": sizes, "loss": {"discriminator_from": 0}}
    data = {"corpora": [{"shards": str(out / "shards")}], "loader_workers": 0}
    recipe = VaeRecipe.model_validate(ONE_CLIP | how | {"data": data})
    lesson, feed = vae_training(recipe, crew("cpu"))
    learn(lesson, feed, recipe, out / "run", lambda: False)
    parts = {"discriminator": lesson.net.discriminator, "vae": lesson.net.vae}
    ranks = crew("cpu").gathered({name: digest(part) for name, part in parts.items()})
    (out / "ranks.json").write_text(json.dumps(ranks))


def digest(net):
    return hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest()


def learn(lesson, data, recipe, out, should_stop):
    out.mkdir(parents=True, exist_ok=True)
    together, plan = crew("cpu"), Plan(recipe.name, recipe.seed, recipe.loop, recipe.keep)
    return Training(lesson, data, plan, out, together, newest_for(out, together)).run(should_stop)


def main(out):
    """One of the two."""
    out = Path(out)
    torch.set_num_threads(1)
    with joined_from_env():
        for parallel in ("ddp", "fsdp"):
            fit(out / parallel, 4, parallel=parallel)
        vae(out / "vae", 1)
