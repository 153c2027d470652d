"""The 1D-VAE against the reference, small and at the published size."""

import numpy as np
import pytest
import torch

from genau.vae import Vae, VaeShape, shape_of
from tests.genau_fill import golden, mel, normals, shapes, state


def compare(name, file, frames, atol):
    weights, found = state(name), golden(file)
    with torch.device("meta"):
        net = Vae(shape_of(weights)).eval()
    net.load_state_dict(weights, assign=True)
    with torch.no_grad():
        posterior = net.encode(mel(frames))
        latent = normals("vae_z", (1, net.shape.latent_channels, frames // 4, 1))[..., 0]
        decoded = [net.decode(z).transpose(1, 2)[:, None].numpy() for z in (latent, posterior.mean)]
    np.testing.assert_allclose(posterior.mean.numpy(), found["mean"][..., 0], atol=atol)
    np.testing.assert_allclose(posterior.logvar.numpy(), found["logvar"][..., 0], atol=atol)
    np.testing.assert_allclose(posterior.std[..., :8].numpy(), found["std_head"][..., 0], atol=atol)
    np.testing.assert_allclose(posterior.kl().numpy(), found["kl"], atol=atol)
    np.testing.assert_allclose(decoded[0], found["decode_of_z"], atol=atol)
    np.testing.assert_allclose(decoded[1], found["decode_of_mean"], atol=atol)


def test_the_small_one_encodes_and_decodes_as_the_reference():
    compare("vae_small", "vae_small", 64, 1e-5)


@pytest.mark.slow
def test_the_published_size():
    compare("vae", "vae_T256", 256, 1e-4)


def test_the_published_layout_is_the_default_shape():
    published = {key: value for key, value in shapes("vae").items() if not key.startswith(("loss.", "vocoder."))}
    with torch.device("meta"):
        net = Vae()
    assert {key: list(value.shape) for key, value in net.state_dict().items()} == published
    assert shape_of({key: torch.empty(value, device="meta") for key, value in published.items()}) == VaeShape()
