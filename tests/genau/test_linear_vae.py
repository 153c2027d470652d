"""The VAE of one convolution each way: what its closed form promises, on numbers whose covariance is known."""

import pytest
import torch

from genau.card import VaeCard, write_folder
from genau.checkpoint import build_vae
from genau.codec import load_codec
from genau.lesson_start import vae_training
from genau.linear_vae import LinearVae, LinearVaeShape, fitted, patches, shape_of
from genau.mel import MELS
from genau.recipe import VaeRecipe
from scorer.weights import WeightsError
from training.crew import Crew
from training.errors import TrainError

SHAPE = LinearVaeShape(frames=2, latent_channels=3, mels=4)


@pytest.fixture(scope="module")
def mels():
    """(500, 4, 40): three hidden numbers for each step of two frames, and a little noise on each band."""
    torch.manual_seed(0)
    hidden = torch.randn(500, 20, 3)
    flat = hidden @ torch.randn(3, 8) + 0.1 * torch.randn(500, 20, 8)
    flat -= flat.mean(dim=(0, 1))
    return flat.reshape(500, 20, 4, 2).permute(0, 2, 1, 3).reshape(500, 4, 40) + torch.arange(4.0)[:, None]


@pytest.fixture(scope="module")
def vae(mels):
    mean = mels.mean(dim=(0, 2))
    some = patches(mels - mean[:, None], SHAPE.frames)
    return fitted(mean, some.T @ some / len(some), SHAPE)


def test_what_lies_in_its_directions_comes_back_up_to_the_noise(vae, mels):
    posterior = vae.encode(mels)
    assert posterior.mean.shape == (500, 3, 20)
    error = vae.decode(posterior.mean) - mels
    assert float(error.square().mean()) < 1.1 * 0.1**2


def test_drawn_latents_have_variance_one_and_channels_do_not_correlate(vae, mels):
    torch.manual_seed(1)
    drawn = vae.encode(mels).sample().transpose(0, 1).flatten(1)
    torch.testing.assert_close(torch.cov(drawn), torch.eye(3), atol=0.03, rtol=0)
    torch.testing.assert_close(drawn.mean(dim=1), torch.zeros(3), atol=0.03, rtol=0)


def test_it_stands_at_the_optimum_of_a_vae_s_loss(vae, mels):
    """No step along any gradient makes the evidence bound better: the closed form is what training would find."""
    some = patches(mels - mels.mean(dim=(0, 2))[:, None], 2)
    values = torch.linalg.eigvalsh(some.T @ some / len(some))
    noise = float(values[:-3].mean())

    def bound(net):
        posterior = net.encode(mels)
        spread = posterior.std.square()  # the expected squared error of a linear decoder needs no draw
        told = torch.einsum("cft,bcs->bfts", net.decoder.weight.square(), spread).transpose(2, 3).reshape(mels.shape)
        error = (net.decode(posterior.mean) - mels).square() + told
        return error.sum() / (2 * noise) + posterior.kl().sum() * posterior.mean[0].numel()

    here = LinearVae(SHAPE)
    here.load_state_dict(vae.state_dict())
    best = bound(here)
    best.backward()
    for name, value in here.named_parameters():
        if (
            name == "encoder.weight"
        ):  # its lower half, which would let the deviation depend on what is heard, has no say
            value.grad[3:] = 0
        moved = LinearVae(SHAPE)
        moved.load_state_dict(vae.state_dict())
        with torch.no_grad():
            moved.get_parameter(name).sub_(1e-2 * value.grad / (value.grad.norm() + 1e-9))
            assert float(bound(moved)) > float(best), name


def test_a_step_later_is_a_step_later(vae, mels):
    with torch.no_grad():
        torch.testing.assert_close(vae.encode(mels.roll(2, dims=2)).mean, vae.encode(mels).mean.roll(1, dims=2))


def test_its_sizes_are_read_from_its_tensors(vae):
    assert shape_of(vae.state_dict()) == SHAPE
    assert isinstance(build_vae(dict(vae.state_dict()), "it"), LinearVae)
    with pytest.raises(WeightsError, match=r"encoder\.weight is missing"):
        build_vae({"decoder.weight": torch.zeros(3, 4, 2), "decoder.bias": torch.zeros(4)}, "it")
    with pytest.raises(WeightsError, match="sizes cannot be read"):
        build_vae({"decoder.weight": torch.zeros(3)}, "it")


def test_a_folder_of_it_is_a_codec(tmp_path):
    shape = LinearVaeShape(frames=4, latent_channels=2, mels=MELS)
    net = LinearVae(shape)
    write_folder(tmp_path / "vae", net.state_dict(), VaeCard(model_id="small", shape=shape))
    assert load_codec(str(tmp_path / "vae")).shape == shape


def test_no_training_goes_on_with_it(tmp_path):
    recipe = VaeRecipe.model_validate(
        {
            "name": "x", "batch_clips": 2, "start": {"checkpoint": "embedded"},
            "data": {"corpora": [{"shards": [str(tmp_path)]}]}, "optimizer": {"type": "adam"},
            "schedule": {"type": "constant", "peak_rate": 1e-3}, "loop": {"steps": 1},
        }
    )  # fmt: skip
    with pytest.raises(TrainError, match="linear VAE"):
        vae_training(recipe, Crew(0, 1, torch.device("cpu")))
