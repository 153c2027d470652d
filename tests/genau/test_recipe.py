"""The recipes that are shipped: all keys are there, and the paper's numbers."""

from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from genau.fit import LARGE, SMALL, TINY
from genau.recipe import FitRecipe, VaeRecipe
from genau.vae import VaeShape

CONFIGS = Path(__file__).parents[2] / "configs"
KINDS = {"genau_tiny": FitRecipe, "genau_s": FitRecipe, "genau_l": FitRecipe, "vae": VaeRecipe}


def given(name):
    return yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())


def read(name):
    return KINDS[name].model_validate(given(name))


def unsaid(model, said, place=""):
    """Keys of the sections that the file leaves to their defaults."""
    for key, field in model.model_fields.items():
        inner = field.annotation
        if key not in said:
            yield place + key
        elif isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from unsaid(inner, said[key], f"{place}{key}.")


@pytest.mark.parametrize("name", KINDS)
def test_every_key_is_said_and_explained(name):
    assert not list(unsaid(KINDS[name], given(name)))
    read(name)
    for line in (CONFIGS / f"{name}.yaml").read_text().splitlines():
        assert len(line) <= 120


@pytest.mark.parametrize(
    ("name", "shape", "clips", "steps"), [("genau_s", SMALL, 2048, 210_000), ("genau_l", LARGE, 3072, 220_000)]
)
def test_s_and_l_have_the_papers_numbers(name, shape, clips, steps):
    recipe = read(name)
    assert recipe.net.shape(channels=64, steps=256, text_width=1536) == shape
    assert recipe.batch_clips * recipe.execution.workers * recipe.loop.accumulate == clips
    assert recipe.loop.steps == steps
    optimizer, schedule = recipe.optimizer, recipe.schedule
    assert (optimizer.type, optimizer.betas, optimizer.weight_decay, optimizer.clip_norm) == (
        "lamb",
        (0.9, 0.99),
        0.1,
        0.5,
    )
    assert (schedule.peak_rate, schedule.final_rate, schedule.warmup_steps, schedule.every_steps) == (
        5e-3,
        1.5e-3,
        5000,
        10,
    )
    diffusion = recipe.diffusion
    assert (diffusion.steps, diffusion.first_beta, diffusion.last_beta) == (1000, 0.0015, 0.0195)
    assert (diffusion.drop_condition, diffusion.drop_per, recipe.net.dropout) == (0.1, "item", 0.1)
    assert recipe.datasets["autocap"] == 9


def test_the_tiny_one_is_the_tiny_preset_behind_what_the_repository_holds():
    recipe = read("genau_tiny")
    assert recipe.net.shape(channels=16, steps=256, text_width=384) == TINY
    assert (recipe.vae, recipe.text.encoders) == ("embedded", ["embedded"])


def test_the_vae_has_the_papers_numbers():
    recipe = read("vae")
    assert recipe.net.shape() == VaeShape()
    assert (recipe.loss.kl, recipe.loss.discriminator, recipe.loss.discriminator_from) == (1000, 0.5, 20_001)
    assert (recipe.optimizer.type, recipe.optimizer.betas, recipe.optimizer.clip_norm) == ("adam", (0.5, 0.9), None)
    assert (recipe.schedule.type, recipe.schedule.peak_rate, recipe.batch_clips) == ("constant", 8e-6, 4)


@pytest.mark.parametrize(
    ("name", "section", "change", "said"),
    [
        ("genau_tiny", "net", {"group": 24}, "no whole number of groups"),
        ("genau_tiny", "net", {"latents": 30}, "cannot be shared among 8 groups"),
        ("genau_tiny", "net", {"latent_width": 144}, "no whole number of heads"),
        ("genau_tiny", "diffusion", {"last_beta": 0.001}, "must be below last_beta"),
        ("genau_tiny", "diffusion", {"self_conditioning": 1.5}, "less than or equal to 1"),
        ("genau_tiny", "text", {"encoders": []}, "at least 1 item"),
        ("genau_tiny", "text", {"t5_pooling": "padded"}, "means over tokens"),
        ("genau_tiny", "net", {"wdith": 3}, "Extra inputs"),
        ("vae", "data", {"kind": "latents"}, "a VAE learns from waves"),
        ("vae", "loop", {"parallel": "fsdp"}, "set ddp"),
    ],
)
def test_what_cannot_be_trained_is_told(name, section, change, said):
    wrong = given(name)
    wrong[section] |= change
    with pytest.raises(ValidationError, match=said):
        KINDS[name].model_validate(wrong)


def test_how_a_step_is_computed_does_not_decide_the_weights():
    recipe = read("genau_s")
    other = recipe.model_copy(update={"batch_clips": 8})
    assert other.decisive() == recipe.decisive()
    assert recipe.model_copy(update={"seed": 1}).decisive() != recipe.decisive()
