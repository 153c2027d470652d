"""A generator from names: our folders, published files with everything inside; what does not belong together."""

from dataclasses import replace

import pytest
import torch

from genau.card import ConditionerCard, GenauCard, VaeCard, VaeRef, read_card, write_folder
from genau.load import load_generator
from genau.vocoder import fold_weight_norm
from generation.conditioners.base import ConditionerError
from generation.errors import GenerationError
from generation.generator import Prompt, Settings
from scorer.weights import WeightsError
from tests.genau_files import genau_state, lightning, prefixed, vocoder_factors
from tests.genau_small import FIT, VAE, Words, fit, generator, model_folder, vae
from tests.genau_small import card as small_card
from tests.small_t5 import WIDTH, save_t5

FAST = Settings(steps=2)
SIZES = {"patch": FIT.patch, "group": FIT.group, "head_width": FIT.head_width}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return model_folder(tmp_path_factory.mktemp("models"))


def test_a_folder_of_ours_finds_its_parts(folder):
    made = load_generator(folder)
    assert (made.model_id, made.precision, made.sample_rate_hz) == ("small", "float32", 16_000)
    assert made.weights_sha256 == read_card(folder, GenauCard).weights_sha256
    assert made.about["conditioners"].startswith("autorecap-")
    assert made.about["vocoder"] == "griffin-lim"
    wave = made.generate([Prompt("rain")], FAST)[0]
    same = load_generator(folder, conditioners=made.conditioner, vae=str(folder.parent / "vae"))
    torch.testing.assert_close(torch.from_numpy(same.generate([Prompt("rain")], FAST)[0]), torch.from_numpy(wave))
    dogs = load_generator(folder, conditioners=made.conditioner, dataset="dogs")
    assert not (dogs.generate([Prompt("rain")], FAST)[0] == wave).all()
    assert dogs.about["dataset"] == "dogs"


def published(path, *, with_vae=True, width=64):
    whole = {**vae().state_dict(), **prefixed("vocoder.", fold_weight_norm(vocoder_factors(width)))}
    return lightning(path, genau_state(fit().state_dict(), ema=True, vae=whole if with_vae else None))


def test_a_published_file_holds_vae_and_vocoder(tmp_path):
    path = published(tmp_path / "genau.ckpt")
    made = load_generator(path, sizes=SIZES, conditioners=Words())
    assert (made.about["averaged"], made.about["dataset"]) == ("true", "audiocaps")
    assert made.about["vocoder"] == made.weights_sha256 == made.about["vae_sha256"]
    wave = made.generate([Prompt("rain")], FAST)
    assert wave.shape == (1, 20480)
    raw = load_generator(path, sizes=SIZES, conditioners=Words(), averaged="raw", vocoder="griffin-lim")
    assert (raw.about["averaged"], raw.about["vocoder"]) == ("false", "griffin-lim")


def test_a_vocoders_own_file_takes_the_place_of_the_one_inside(tmp_path, caplog):
    torch.save({"generator": vocoder_factors()}, tmp_path / "hifigan.ckpt")
    torch.save({"state_dict": vae().state_dict()}, tmp_path / "vae.ckpt")
    path = published(tmp_path / "genau.ckpt", with_vae=False)
    with pytest.raises(GenerationError, match=r"holds no VAE: give one \(--vae\)"):
        load_generator(path, sizes=SIZES, conditioners=Words())
    made = load_generator(path, sizes=SIZES, conditioners=Words(), vae=str(tmp_path / "vae.ckpt"))
    assert "holds no vocoder: Griffin-Lim" in caplog.text
    assert made.about["vocoder"] == "griffin-lim"
    made = load_generator(
        path, sizes=SIZES, conditioners=Words(), vae=str(tmp_path / "vae.ckpt"), vocoder=str(tmp_path / "hifigan.ckpt")
    )
    assert made.generate([Prompt("rain")], FAST).shape == (1, 20480)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"vae": VaeRef(model="../vae", weights_sha256="f" * 64)}, "trained on the latents of a VAE with SHA-256 ffff"),
        ({"vae": VaeRef(model="../none", weights_sha256="")}, "there is no file"),
        ({"conditioners": ()}, "holds no text encoders: give those"),
        (
            {"conditioners": (ConditionerCard(name="embedded", width=384, weights_sha256="f" * 64),)},
            "trained with embedded of",
        ),
        (
            {"conditioners": (ConditionerCard(name="bert", width=384, weights_sha256=""),)},
            "no text encoder is called 'bert'",
        ),
        ({"dataset": "cats"}, "data set 'cats' has no id"),
    ],
)
def test_what_does_not_belong_together_is_refused(tmp_path, changed, told):
    with pytest.raises((GenerationError, ConditionerError, WeightsError), match=told):
        load_generator(model_folder(tmp_path, **changed))


def test_widths_that_do_not_meet_are_told(folder, tmp_path):
    with pytest.raises(GenerationError, match="small reads 384 numbers of a prompt; words gives 10"):
        load_generator(folder, conditioners=Words(10))
    model = model_folder(tmp_path, vae=VaeRef(model="embedded", weights_sha256=""))
    with pytest.raises(GenerationError, match=f"latents of {VAE.latent_channels} channels; the VAE .* has 16"):
        load_generator(model)


def test_bfloat16_keeps_near(folder):
    """As a GPU would do it; t itself is never rounded (501 would become 500)."""
    exact, rough = (generator(precision=precision) for precision in ("float32", "bfloat16"))
    settings, said = Settings(guidance=2.0), torch.from_numpy(Words().embed(["rain"]))
    x = torch.randn(1, FIT.channels, FIT.steps, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        noises = [one.denoiser(said, settings)(x, torch.tensor([501]), None)[0] for one in (exact, rough)]
    assert noises[1].dtype == torch.float32
    assert float((noises[0] - noises[1]).abs().mean() / noises[0].abs().mean()) < 0.03


def test_encoders_read_as_the_card_says_unless_told_otherwise(tmp_path):
    """T5 alone here, as wide as the net asks."""
    t5 = f"t5:{save_t5(tmp_path / 't5')}"

    def pooled(card, **said):
        net = fit(replace(FIT, text_width=WIDTH))
        theirs = write_folder(tmp_path / "vae", vae().state_dict(), VaeCard(model_id="vae", shape=VAE))
        ref = VaeRef(model="../vae", weights_sha256=theirs.weights_sha256)
        made = small_card(shape=net.shape, vae=ref, conditioners=(card,))
        write_folder(tmp_path / "small", net.state_dict(), made)
        return load_generator(tmp_path / "small", **said).conditioner.name

    padded = ConditionerCard(name=t5, width=WIDTH, weights_sha256="", pooling="padded")
    assert pooled(padded) == "t5+padded"
    assert pooled(padded, pooling="tokens") == "t5"
    unsaid = ConditionerCard(name=t5, width=WIDTH, weights_sha256="")
    assert pooled(unsaid) == "t5"
    assert pooled(unsaid, pooling="padded") == "t5+padded"
