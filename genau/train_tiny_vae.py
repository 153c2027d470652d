"""Train the embedded VAE from nothing, one command:

    python tools/sounds/get_sounds.py SOUNDS
    python -m genau.train_tiny_vae --sounds SOUNDS --out genau/weights/embedded-vae

The published VAE's parts at 2.5 M parameters: scenes of redistributable sounds (scorer/scenes.py) are heard once as
log-mels, then encoder and decoder learn them together: the absolute error of the spectrogram and of its slopes, which
keep edges sharp where no discriminator does, and a small KL. Half an hour on one core with bf16 instructions; the
seed is fixed, step counts decide where training ends. Measured on packages that no weight has learned from.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as fn

from genau.card import VaeCard, write_folder
from genau.mel import CLIP_SAMPLES, FLOOR, FRAMES, MELS, LogMel, levelled
from genau.vae import Vae, VaeShape
from scorer.optim import fit, set_up
from scorer.scenes import SceneMaker
from scorer.sounds import CARRY_PACKAGES, MEASURE_PACKAGES, read_sounds

log = logging.getLogger(__name__)
#: 16 numbers for each of 256 steps of 40 ms: 16 times fewer than the mel, the published one 4 times.
SHAPE = VaeShape(width=96, multipliers=(1, 1, 2), res_blocks=1, z_channels=64, latent_channels=16)
WILD_SHARE = 0.4
#: So many clips of a batch are two scenes at once.
MIXED_SHARE = 0.5
#: As the published loss weighs them, where the reconstruction is a sum over 1,024 x 64 numbers: 1000 / 65,536.
KL_WEIGHT = 0.015
MEASURED_SCENES = 200


@dataclass(frozen=True, kw_only=True)
class Recipe:
    sounds: Path
    seed: int = 0
    scenes: int = 1_500
    steps: int = 2_400
    batch: int = 4
    peak_rate: float = 1e-3


def train(recipe: Recipe, out: Path) -> VaeCard:
    """Writes OUT/model.safetensors (float16) and OUT/card.json; returns the card."""
    set_up(recipe.seed)
    maker = SceneMaker(read_sounds(recipe.sounds), seed=recipe.seed, wild_share=WILD_SHARE)
    mels = heard(maker, recipe.scenes)
    net = started(mels)
    loss = teach(net, mels, recipe)
    return finished(net, mels, loss, recipe, out)


def finished(net: Vae, mels: np.ndarray, loss: float, recipe: Recipe, out: Path) -> VaeCard:
    """Its latents made even, its weights as they are shipped, measured and written."""
    standardise(net.float().eval(), mels[:MEASURED_SCENES])
    net.half().float()
    card = VaeCard.model_validate(
        {
            "model_id": "autorecap-genau-vae-tiny",
            "shape": SHAPE,
            "trained": {k: v for k, v in vars(recipe).items() if not isinstance(v, Path)} | {"loss": round(loss, 4)},
            "measured": {
                "+".join(packages): measured(net, mels, SceneMaker(read_sounds(recipe.sounds, only=packages), seed=1))
                for packages in (MEASURE_PACKAGES, CARRY_PACKAGES)
            },
        }
    )
    return write_folder(out, {name: value.half() for name, value in net.state_dict().items()}, card)


def heard(maker: SceneMaker, count: int) -> np.ndarray:
    """(N, 64, 1024) float16: log-mels of the first scenes, levelled and filled up to 10.24 s as GenAU hears them."""
    log_mel, mels = LogMel(), np.empty((count, MELS, FRAMES), dtype=np.float16)
    for number in range(count):
        wave = levelled(maker.scene(number).wave)
        filled = torch.from_numpy(np.pad(wave, (0, CLIP_SAMPLES - wave.size)))
        mels[number] = log_mel(filled[None])[0].T.numpy()
        if number % 500 == 499:
            log.info("%d of %d scenes heard", number + 1, count)
    return mels


def started(mels: np.ndarray) -> Vae:
    """A net that begins at the mean spectrogram: mels are far from zero, and the published layout shifts nothing."""
    net = Vae(SHAPE)
    with torch.no_grad():
        net.encoder.conv_in.weight *= 0.2
        mean = torch.from_numpy(mels[:500].mean(axis=(0, 2), dtype=np.float64)).float()
        net.decoder.conv_out.bias = nn.Parameter(mean)
    return net


def teach(net: Vae, mels: np.ndarray, recipe: Recipe) -> float:
    draw = np.random.default_rng(recipe.seed)

    def loss_of_step(_: int) -> torch.Tensor:
        mel_BFT = torch.from_numpy(np.stack([drawn(mels, draw) for _ in range(recipe.batch)]))
        posterior = net.encode(mel_BFT)
        again_BFT = net.decode(posterior.sample()).float()
        return spectral_error(again_BFT, mel_BFT) + KL_WEIGHT * posterior.kl().float().mean()

    return fit("vae", net.parameters(), loss_of_step, steps=recipe.steps, peak_rate=recipe.peak_rate)


def drawn(mels: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """(64, 1024) float32: a scene begun somewhere in its middle, half of the time with another under it."""
    mel = turned(mels, draw)
    if draw.random() >= MIXED_SHARE:
        return mel
    return np.asarray(np.logaddexp(mel, turned(mels, draw) - draw.uniform(0, 4)).clip(FLOOR), dtype=np.float32)


def turned(mels: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    return np.roll(mels[draw.integers(len(mels))].astype(np.float32), draw.integers(FRAMES), axis=1)


def spectral_error(again_BFT: torch.Tensor, mel_BFT: torch.Tensor) -> torch.Tensor:
    """Mean absolute error of the log-mel, and half as much of its differences along time and along frequency."""
    error = again_BFT - mel_BFT
    slopes = error.diff(dim=1).abs().mean() + error.diff(dim=2).abs().mean()
    return error.abs().mean() + 0.25 * slopes


@torch.no_grad()
def standardise(net: Vae, mels: np.ndarray) -> None:
    """Every channel's drawn latents to mean 0 and variance 1, inside the weights: diffusion needs no scale factor."""
    drawn = torch.cat([posterior.sample() for posterior in map(net.encode, batches(mels))])
    mean, std = drawn.mean(dim=(0, 2)), drawn.std(dim=(0, 2))
    there, back, wide = net.quant_conv, net.post_quant_conv, len(mean)
    assert there.bias is not None
    assert back.bias is not None
    there.weight[:wide] /= std[:, None, None]
    there.bias[:wide] = (there.bias[:wide] - mean) / std
    there.bias[wide:] -= 2 * std.log()
    back.bias += back.weight[:, :, 0] @ mean
    back.weight *= std[None, :, None]


@torch.inference_mode()
def measured(net: Vae, trained_on: np.ndarray, maker: SceneMaker) -> dict[str, float]:
    """On scenes of packages kept out of training: mean absolute error of the log-mel in nats, beside the mean's own."""
    mels = heard(maker, MEASURED_SCENES)
    means = [net.decode(net.encode(batch).mean) for batch in batches(mels)]
    wanted = torch.from_numpy(mels.astype(np.float32))
    dull = torch.from_numpy(trained_on.mean(axis=(0, 2), dtype=np.float64).astype(np.float32))[None, :, None]
    return {
        "scenes": MEASURED_SCENES,
        "mean_absolute_error_nats": round(float(fn.l1_loss(torch.cat(means), wanted)), 4),
        "of_the_mean_spectrum_nats": round(float((wanted - dull).abs().mean()), 4),
    }


def batches(mels: np.ndarray, size: int = 10) -> Iterator[torch.Tensor]:
    for first in range(0, len(mels), size):
        yield torch.from_numpy(mels[first : first + size].astype(np.float32))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sounds", type=Path, required=True, help="what tools/sounds/get_sounds.py unpacked")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scenes", type=int, default=Recipe.scenes)
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    args = parser.parse_args()
    train(Recipe(sounds=args.sounds, seed=args.seed, scenes=args.scenes, steps=args.steps), args.out)


if __name__ == "__main__":
    main()
