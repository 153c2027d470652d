"""Stage 1 by training/loop.py: two turns, the discriminator's start, what is published, the sounds of validation."""

import json

import pytest
import torch

from genau.card import VaeCard, read_folder
from genau.codec import load_codec
from genau.lesson_start import vae_training
from genau.recipe import VaeRecipe
from genau.vae import Vae
from tests.sound_shards import write_corpus
from training.crew import Crew
from training.loop import Plan, Training

CREW = Crew(0, 1, torch.device("cpu"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vae")
    corpora = [{"shards": [str(write_corpus(folder / "shards", shards=1, each=6))]}]
    recipe = VaeRecipe.model_validate(
        {
            "name": "small", "batch_clips": 2,
            "net": {"width": 32, "multipliers": [1, 1], "res_blocks": 1, "z_channels": 8, "latent_channels": 4},
            "loss": {"discriminator_from": 4},
            "data": {"corpora": corpora, "loader_workers": 0},
            "validation": {"corpora": corpora, "max_clips": 2},
            "optimizer": {"type": "adam", "betas": [0.5, 0.9]},
            "schedule": {"type": "constant", "peak_rate": 1e-3},
            "loop": {"steps": 4},
            "keep": {"every_steps": 4, "validate_every_steps": 100, "tensorboard": False},
        }
    )  # fmt: skip
    torch.manual_seed(0)
    lesson, data = vae_training(recipe, CREW)
    judge = lesson.net.discriminator.main[0].weight.detach().clone()
    out = folder / "out"
    out.mkdir()
    Training(lesson, data, Plan(recipe.name, recipe.seed, recipe.loop, recipe.keep), out, CREW).run()
    lines = [json.loads(line) for line in (out / "losses.jsonl").read_text().splitlines()]
    return out, lesson, judge, [line for line in lines if "vae/rec" in line]


def test_the_vae_learns_and_the_discriminator_joins_in_at_its_step(trained):
    _, lesson, judge, told = trained
    assert told[-1]["vae/rec"] < told[0]["vae/rec"]
    assert [numbers["discriminator/loss"] > 0 for numbers in told] == [False, False, True, True]
    assert ["vae/d_weight" in numbers for numbers in told] == [False, False, True, True]
    assert not torch.equal(lesson.net.discriminator.main[0].weight, judge)


def test_the_model_is_the_vae_alone_and_can_be_loaded(trained):
    out, _, _, _ = trained
    card, state = read_folder(out / "model", VaeCard)
    assert set(state) == set(Vae(card.shape).state_dict())
    codec = load_codec(str(out / "model"))
    wave = torch.randn(1, 5120)
    assert codec.to_wave(codec.encode(wave).mean).shape == (1, 5120)


def test_validation_tells_error_and_kl_and_gives_sounds(trained):
    _, lesson, _, _ = trained
    seen = lesson.eval().validate(5, CREW)
    assert set(seen.measures) == {"absolute_error_nats", "kl"}
    assert len(seen.sounds) == len(seen.images) == 2
    assert next(iter(seen.images.values())).shape == (512, 1024, 3)
