"""A generator of seconds' worth of work: every part real, all of it small and untrained."""

import hashlib

import numpy as np
import torch

from genau.card import ConditionerCard, GenauCard, VaeCard, VaeRef, write_folder
from genau.codec import Codec
from genau.fit import Fit, FitShape
from genau.generate import GenauGenerator, Parts
from genau.griffin_lim import GriffinLim
from genau.vae import Vae, VaeShape
from generation.conditioners.base import Reader

#: 1.28 s of sound.
FIT = FitShape(
    channels=8, steps=32, patch=2, group=8, patch_width=32, latent_width=32, latents=8, blocks=1, local_layers=1,
    global_layers=1, context_width=32, text_width=384, datasets=8, head_width=16, dropout=0.0,
)  # fmt: skip
VAE = VaeShape(width=32, multipliers=(1, 1, 2), res_blocks=1, z_channels=8, latent_channels=8)
SAMPLES = 32 * 4 * 160


class Words(Reader):
    """A conditioner: unit vectors drawn from a text's hash. "" has one, too."""

    name, weights_sha256, independent = "words", "c" * 64, True

    def __init__(self, width=FIT.text_width):
        self.width = width

    def embed(self, texts):
        seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") for text in texts]
        drawn = [np.random.default_rng(seed).standard_normal(self.width) for seed in seeds]
        return np.stack([row / np.linalg.norm(row) for row in drawn]).astype(np.float32)


def fit(shape=FIT):
    """Weights of an untrained net, its last layer small: sampling keeps its numbers within bounds."""
    torch.manual_seed(0)
    net = Fit(shape).eval().requires_grad_(False)
    with torch.no_grad():
        net.patch_to_pixels[1].weight *= 0.3
        net.time_mlp[1].weight[:, 0] *= 0.01  # untrained, the net would see nothing but t
    return net


def vae():
    torch.manual_seed(1)
    net = Vae(VAE).eval().requires_grad_(False)
    with torch.no_grad():
        net.decoder.conv_out.weight *= 20
        net.decoder.conv_out.bias.fill_(-4.0)
    return net


def card(**changed):
    given = {
        "model_id": "small",
        "weights_sha256": "d" * 64,
        "shape": FIT,
        "scale_factor": 1.5,
        "datasets": {"rain": 0, "dogs": 1},
        "conditioners": (ConditionerCard(name="embedded", width=384, weights_sha256=""),),
        "vae": VaeRef(model="vae", weights_sha256=""),
    }
    return GenauCard(**(given | changed))


def generator(net=None, words=None, prediction="noise", **options):
    told = card(prediction=prediction)
    parts = Parts(told, net or fit(), Codec(vae(), GriffinLim(rounds=2)), words or Words(), {"vae_sha256": "e" * 64})
    return GenauGenerator(parts, **options)


def model_folder(folder, **changed):
    """A model as `genau train` leaves it, its VAE in a folder beside it."""
    theirs = write_folder(folder / "vae", vae().state_dict(), VaeCard(model_id="vae", shape=VAE))
    ref = VaeRef(model="../vae", weights_sha256=theirs.weights_sha256)
    write_folder(folder / "small", fit().state_dict(), card(**({"vae": ref} | changed)))
    return folder / "small"
