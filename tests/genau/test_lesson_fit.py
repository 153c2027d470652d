"""What the denoiser learns, by training/loop.py on real shards: it does, resumed too, and each switch switches."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from genau.card import GenauCard, VaeCard, read_card, read_folder
from genau.codec import WEIGHTS
from genau.fit import Fit
from genau.lesson_fit import FitInputs
from genau.lesson_start import fit_training
from genau.recipe import FitRecipe
from generation.conditioners.load import load_conditioner
from generation.latent_numbers import half_file, latent_file
from generation.latents import LATENT, TEXT
from tests.small_t5 import save_t5
from tests.sound_shards import record, write_corpus, write_tar
from training.crew import Crew
from training.errors import TrainError
from training.loop import Plan, Training

CREW = Crew(0, 1, torch.device("cpu"))
SIZES = {
    "preset": "tiny", "patch": 8, "group": 8, "patch_width": 32, "latent_width": 48, "latents": 8, "blocks": 1,
    "local_layers": 1, "global_layers": 1, "context_width": 32, "head_width": 16, "datasets": 4,
}  # fmt: skip


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Latents of four sorts, all alike within a sort; half of them in bytes."""
    folder = tmp_path_factory.mktemp("latents")
    draw = np.random.default_rng(0)
    sorts, texts = draw.standard_normal((4, 16, 256)), draw.standard_normal((4, 384)) / 20
    clips = []
    for k in range(16):
        latent = np.stack([sorts[k % 4], np.full((16, 256), 0.05)])
        told = json.dumps(record(f"sort {k % 4}", dataset="a" if k % 2 else "b")).encode()
        clips.append(
            [(f"{k:03d}.{LATENT}", latent_file(latent, "bytes" if k < 8 else "float16")),
             (f"{k:03d}.{TEXT}", half_file(texts[k % 4][None])), (f"{k:03d}.json", told)]
        )  # fmt: skip
    write_tar(folder / "00000.tar", clips)
    return folder


def recipe(shards, **changes):
    corpora = [{"shards": [str(shards)]}]
    tree = {
        "name": "small", "net": SIZES, "vae": "embedded", "text": {"encoders": ["embedded"]},
        "datasets": {"a": 0, "b": 1}, "batch_clips": 8,
        "data": {"kind": "latents", "corpora": corpora, "loader_workers": 0},
        "validation": {"corpora": corpora, "max_clips": 8},
        "optimizer": {"type": "adamw", "clip_norm": 1.0},
        "schedule": {"type": "constant", "peak_rate": 3e-3},
        "loop": {"steps": 40}, "keep": {"every_steps": 20, "validate_every_steps": 1000, "tensorboard": False},
    }  # fmt: skip
    for key, value in changes.items():
        tree[key] = tree.get(key, {}) | value if isinstance(value, dict) else value
    return FitRecipe.model_validate(tree)


def started(recipe, out, resumed=None):
    lesson, data = fit_training(recipe, out / "captions", CREW)
    plan = Plan(recipe.name, recipe.seed, recipe.loop, recipe.keep)
    return lesson, Training(lesson, data, plan, out, CREW, resumed)


def measured(lesson):
    lesson.eval()
    return lesson.measure(lesson.held_out(), CREW)


def test_it_learns_and_a_resumed_run_learns_the_same(shards, tmp_path):
    made = recipe(shards, loop={"steps": 40, "ema_decay": 0.9})
    lesson, training = started(made, tmp_path / "one")
    before = measured(lesson)
    assert len(before) == 11
    training.run()
    after = measured(lesson)
    assert after["loss"] < 0.85 * before["loss"]
    card, state = read_folder(tmp_path / "one" / "model", GenauCard)
    assert set(state) == set(Fit(card.shape).state_dict())
    assert card.conditioners[0].name == "embedded"
    assert 0.5 < card.scale_factor < 2  # from the first batch
    assert card.vae.weights_sha256 == read_card(WEIGHTS, VaeCard).weights_sha256  # which was not run here
    begun = tmp_path / "one" / "checkpoints" / "step-00000020"
    again, second = started(made, tmp_path / "two", begun)
    second.run()
    for name, value in load_file(tmp_path / "two" / "model" / "model.safetensors").items():
        assert torch.equal(value, state[name]), name
    assert measured(again) == after


def inputs(clips):
    torch.manual_seed(1)
    hot = torch.nn.functional.one_hot(torch.zeros(clips, dtype=torch.long), 4).float()
    return FitInputs(torch.randn(clips, 16, 256), torch.zeros(clips, 16, 256), torch.randn(clips, 384), hot)


def test_conditions_are_dropped_clip_by_clip_or_as_the_reference_all_at_once(shards, tmp_path):
    shares = {}
    for per in ("item", "batch"):
        lesson, _ = fit_training(recipe(shards, diffusion={"drop_condition": 0.5, "drop_per": per}), tmp_path, CREW)
        given = inputs(64)
        torch.manual_seed(0)
        text, dataset = lesson._condition(given)
        lost = (text == lesson.none_E).all(dim=1)
        assert torch.equal(lost, dataset.argmax(dim=1) == 3)  # the number of "none of them" is the last
        assert torch.equal(text[~lost], given.text[~lost])
        shares[per] = float(lost.float().mean())
    assert 0.3 < shares["item"] < 0.7
    assert shares["batch"] in (0.0, 1.0)


@pytest.mark.parametrize("share", [0.5, 0.0])
def test_self_conditioning_learns_unless_it_is_switched_off(shards, tmp_path, share):
    lesson, _ = fit_training(recipe(shards, diffusion={"self_conditioning": share}), tmp_path, CREW)
    lesson.train()
    handed = lesson._handed(*(part[:4] for part in noised(lesson, 4)))
    lesson.loss("denoise", inputs(4), 0).sum.backward()
    gamma = lesson.net.self_conditioning_latents_projection[1].gamma
    if share == 0:
        assert handed == ()
        assert gamma.grad is None
        return
    latents, who = handed
    assert who.tolist() == [1, 1, 0, 0]
    assert latents[:2].abs().sum() > 0
    assert not latents[2:].any()
    assert gamma.grad.abs().sum() > 0


def noised(lesson, clips):
    given = inputs(clips)
    return given.mean, torch.full((clips,), 500), given.text, given.dataset


def test_fine_tuning_takes_weights_and_scale_and_new_data_sets(shards, tmp_path):
    first = recipe(shards, loop={"steps": 2})
    _, training = started(first, tmp_path / "one")
    training.run()
    place = str(tmp_path / "one" / "model")
    lesson, _ = fit_training(recipe(shards, start={"checkpoint": place}, datasets={"c": 2}), tmp_path, CREW)
    card, state = read_folder(tmp_path / "one" / "model", GenauCard)
    assert all(torch.equal(value, state[name]) for name, value in lesson.net.state_dict().items() if name in state)
    assert float(lesson._scale) == pytest.approx(card.scale_factor)
    with pytest.raises(TrainError, match=r"datasets: .*ids must be from 0 to 3; z: 9"):
        fit_training(recipe(shards, datasets={"z": 9}), tmp_path, CREW)


def test_the_velocity_is_learned_where_the_recipe_says_so_and_the_card_tells(shards, tmp_path):
    made = recipe(shards, diffusion={"prediction": "velocity", "scale_factor": 2.0}, loop={"steps": 2})
    lesson, training = started(made, tmp_path / "one")
    training.run()
    place = str(tmp_path / "one" / "model")
    card, _ = read_folder(Path(place), GenauCard)
    assert card.prediction == "velocity"
    with pytest.raises(TrainError, match=r"says the velocity: set diffusion\.prediction"):
        fit_training(recipe(shards, start={"checkpoint": place}), tmp_path, CREW)
    # A net that always says 0: its error is the velocity's own power, signal's share of the noise's and the other way.
    with torch.no_grad():
        last = lesson.net.patch_to_pixels[1]
        last.weight.zero_(), last.bias.zero_()
    found = measured(lesson)["loss"]
    mean = next(iter(lesson.held_out())).gaussians(torch.device("cpu"))[0] * 2
    shares = [float(lesson.schedule.alphas_cumprod[t]) for t in lesson._middles()]
    power = float(mean.square().mean())
    assert found == pytest.approx(np.mean([a + (1 - a) * power for a in shares]), rel=0.1)


def test_validation_makes_sounds_and_pictures(shards, tmp_path):
    prompts = ["a dog barking", "rain"]
    made = recipe(shards, validation={"prompts": prompts, "steps": 2, "guidance": 2.0, "max_clips": 2})
    lesson, _ = fit_training(made, tmp_path, CREW)
    seen = lesson.eval().validate(1, CREW)
    assert list(seen.sounds) == list(seen.images) == prompts
    for prompt in prompts:
        assert seen.sounds[prompt].wave.shape == (163_840,)
        assert np.abs(seen.sounds[prompt].wave).max() == pytest.approx(0.5, abs=1e-3)
        assert seen.images[prompt].shape == (256, 1024, 3)


def test_some_clips_are_heard_in_place_of_being_read(shards, tmp_path):
    corpora = [{"shards": [str(write_corpus(tmp_path / "sounds", shards=1))]}]
    heard = {"encoders": ["embedded"], "audio_share": 0.5}
    made = recipe(shards, text=heard, data={"kind": "waves", "corpora": corpora}, validation={"corpora": []})
    lesson, feed = fit_training(made, tmp_path, CREW)
    clips = next(feed.batches(None, rank=0, world=1)).clips
    assert 0 < clips.by_ear.sum() < len(clips)
    text = lesson.ready(clips, CREW.device).inputs.text
    text, words, by_ear = text.numpy(), load_conditioner(["embedded"]), clips.by_ear.numpy()
    np.testing.assert_allclose(text[~by_ear], words.embed(clips.captions)[~by_ear], atol=1e-5)
    np.testing.assert_allclose(text[by_ear], words.hear(clips.waves.numpy()[by_ear], 16_000), atol=1e-5)


def test_who_cannot_hear_is_told_before_the_start(shards, tmp_path):
    (tmp_path / "made").mkdir()
    (tmp_path / "made/manifest.json").write_text('{"request": {}, "files": {"train/0.tar": {"samples": 1}}}')
    asked = {"encoders": ["embedded"], "audio_share": 0.1}
    unheard = recipe(shards, text=asked, data={"corpora": [{"shards": [str(tmp_path / "made")]}]})
    with pytest.raises(TrainError, match="encode again with --audio-vectors"):
        fit_training(unheard, tmp_path, CREW)
    only_reads = recipe(shards, text={"encoders": [f"t5:{save_t5(tmp_path / 't5')}"], "audio_share": 0.1})
    with pytest.raises(TrainError, match=r"text\.audio_share: t5 only reads; name a CLAP"):
        fit_training(only_reads, tmp_path, CREW)


def test_the_card_says_how_t5_reads(shards, tmp_path):
    corpora = [{"shards": [str(write_corpus(tmp_path / "sounds", shards=1))]}]
    text = {"encoders": [f"t5:{save_t5(tmp_path / 't5')}", "embedded"], "t5_pooling": "padded"}
    made = recipe(shards, text=text, data={"kind": "waves", "corpora": corpora}, validation={"corpora": []})
    lesson, _ = fit_training(made, tmp_path, CREW)
    card = GenauCard.model_validate(lesson.card(1))
    assert [part.pooling for part in card.conditioners] == ["padded", None]
