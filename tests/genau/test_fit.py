"""FIT against the reference: noise, latent tokens, self-conditioning, at three sizes; sizes read from tensors."""

import numpy as np
import pytest
import torch

from genau.fit import LARGE, SMALL, TINY, Fit, FitShape, shape_of
from tests.genau_fill import golden, normals, one_hot, shapes, state


def meta(name):
    return {key: torch.empty(shape, device="meta") for key, shape in shapes(name).items()}


def close(ours, reference, atol=1e-5):
    np.testing.assert_allclose(ours.numpy(), reference, atol=atol, rtol=1e-5)


def compare(name, shape, clips, ids, every, text_width, atol=1e-5):
    found = golden(name)
    weights = state(name)
    with torch.device("meta"):
        net = Fit(shape)
    net.load_state_dict(weights, assign=True)
    net.eval()
    text, hot = normals("text", (clips, text_width), 0.1), one_hot(ids)
    size = (clips, shape.channels, shape.steps, 1)
    with torch.no_grad():
        t, t2 = (torch.from_numpy(found[key]) for key in ("t", "t2"))
        noise, latents = net(normals("x_t", size)[..., 0], t, text, hot)
        again, latents_again = net(normals("x_t2", size)[..., 0], t2, text, hot, latents)
    close(noise[..., None], found["eps"], atol)
    close(latents[:, ::every], found["latents"], atol)
    close(again[..., None], found["eps_selfcond"], atol)
    close(latents_again[:, ::every], found["latents_selfcond"], atol)


def test_the_small_one_gives_the_references_noise_and_latents():
    compare("fit_small", shape_of(meta("fit_small"), group=16, head_width=32), 2, [0, 9], 4, 48)


def test_the_configuration_that_the_reference_ships():
    compare("fit_yaml", shape_of(meta("fit_yaml"), group=16, patch=2), 2, [0, 9], 4, 1536)


@pytest.mark.slow
def test_the_s_model_at_full_size():
    # Sums over 1,024 numbers in float32: in which order a CPU takes them moves values of up to 8 by 1.4e-5.
    compare("fit_s", shape_of(meta("fit_s")), 1, [0], 8, 1536, atol=3e-5)


@pytest.mark.parametrize(("name", "shape", "millions"), [("fit_s", SMALL, 493.37), ("fit_l", LARGE, 1252.94)])
def test_the_presets_are_the_papers_sizes(name, shape, millions):
    assert shape_of(meta(name)) == shape
    with torch.device("meta"):
        net = Fit(shape)
    assert {key: list(value.shape) for key, value in net.state_dict().items()} == shapes(name)
    assert sum(value.numel() for value in net.parameters()) / 1e6 == pytest.approx(millions, abs=0.01)


def test_an_untrained_net_ignores_the_latents_of_a_call_before():
    torch.manual_seed(0)
    net = Fit(TINY).eval()
    x, text = torch.randn(2, TINY.channels, TINY.steps), torch.randn(2, TINY.text_width)
    with torch.no_grad():
        noise, latents = net(x, torch.tensor([1, 999]), text, one_hot([0, 3]))
        again, _ = net(x, torch.tensor([1, 999]), text, one_hot([0, 3]), latents)
    assert noise.shape == x.shape
    torch.testing.assert_close(noise, again)


def test_every_parameter_but_self_conditioning_learns():
    net = Fit(FitShape(channels=4, steps=32, group=8, patch_width=32, latent_width=48, latents=16, blocks=1,
                       global_layers=1, local_layers=1, context_width=32, text_width=8, head_width=16))  # fmt: skip
    noise, _ = net(torch.randn(2, 4, 32), torch.tensor([5, 700]), torch.randn(2, 8), one_hot([0, 3]))
    noise.square().mean().backward()
    still = {name.split(".")[0] for name, value in net.named_parameters() if value.grad is None}
    assert still == {"self_conditioning_latents_projection"}
