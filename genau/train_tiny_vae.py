"""Fit the embedded VAE, one command:

    python tools/sounds/get_sounds.py SOUNDS
    python -m genau.train_tiny_vae --sounds SOUNDS --out genau/weights/embedded-vae

Scenes of redistributable sounds (scorer/scenes.py) are heard as log-mels; the covariance of four frames' bands says
all that a linear VAE can know of them (genau/linear_vae.py; docs/adr/0012). A minute or two, to mix the scenes; the
seed is fixed. Measured on packages that it has not seen.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as fn

from genau.card import VaeCard, write_folder
from genau.linear_vae import LinearVae, LinearVaeShape, fitted, patches
from genau.mel import CLIP_SAMPLES, FRAMES, MELS, LogMel, levelled
from scorer.optim import set_up
from scorer.scenes import SceneMaker
from scorer.sounds import CARRY_PACKAGES, MEASURE_PACKAGES, read_sounds

log = logging.getLogger(__name__)
#: 16 numbers for each of 256 steps of 40 ms: 16 times fewer than the mel, the published one 4 times.
SHAPE = LinearVaeShape(frames=4, latent_channels=16, mels=MELS)
WILD_SHARE = 0.4
MEASURED_SCENES = 200


@dataclass(frozen=True, kw_only=True)
class Recipe:
    sounds: Path
    seed: int = 0
    scenes: int = 1_500


def train(recipe: Recipe, out: Path) -> VaeCard:
    """Writes OUT/model.safetensors and OUT/card.json; returns the card."""
    set_up(recipe.seed)
    maker = SceneMaker(read_sounds(recipe.sounds), seed=recipe.seed, wild_share=WILD_SHARE)
    mels = heard(maker, recipe.scenes)
    vae = learned(mels)
    card = VaeCard.model_validate(
        {
            "model_id": "autorecap-genau-vae-tiny",
            "shape": SHAPE,
            "trained": {"seed": recipe.seed, "scenes": recipe.scenes},
            "measured": {
                "+".join(packages): measured(vae, mels, SceneMaker(read_sounds(recipe.sounds, only=packages), seed=1))
                for packages in (MEASURE_PACKAGES, CARRY_PACKAGES)
            },
        }
    )
    return write_folder(out, vae.state_dict(), card)


def learned(mels: np.ndarray) -> LinearVae:
    """Of (N, 64, T) log-mels; each is cut into steps in all four ways."""
    mean_F = torch.from_numpy(mels.mean(axis=(0, 2), dtype=np.float64))
    total, count = torch.zeros(MELS * SHAPE.frames, MELS * SHAPE.frames, dtype=torch.float64), 0
    for batch in batches(mels):
        for begin in range(SHAPE.frames):
            moved = batch.roll(begin, dims=2).double() - mean_F[:, None]
            some = patches(moved, SHAPE.frames)
            total += some.T @ some
            count += len(some)
    return fitted(mean_F, total / count, SHAPE)


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


@torch.inference_mode()
def measured(net: LinearVae, trained_on: np.ndarray, maker: SceneMaker) -> dict[str, float]:
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
    args = parser.parse_args()
    train(Recipe(sounds=args.sounds, seed=args.seed, scenes=args.scenes), args.out)


if __name__ == "__main__":
    main()
