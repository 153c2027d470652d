"""The smallest VAE there is: one convolution each way, whose weights follow from the data in closed form.

    vae = fitted(mean_F, covariance_DD, LinearVaeShape(frames=4, latent_channels=16, mels=64))
    posterior = vae.encode(mel_BFT)      # the face of genau.vae.Vae

A VAE whose encoder and decoder are linear has its optimum where probabilistic PCA has it (Tipping & Bishop 1999;
Lucas et al. 2019, arXiv 1911.02469): a step's latents are the strongest directions of its `frames` x `mels` numbers,
and what is left over says how far each is uncertain. Drawn latents have mean 0 and variance 1, channels do not
correlate, and no neighbour is heard: a sound begun one step later has the same latents one step later.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from genau.vae import Posterior


@dataclass(frozen=True)
class LinearVaeShape:
    """`frames` mel frames of `mels` bands become one step of `latent_channels` numbers."""

    frames: int
    latent_channels: int
    mels: int

    @property
    def shortens(self) -> int:
        """Mel frames of one latent step."""
        return self.frames


class LinearVae(nn.Module):
    """Mel spectrograms (B, F, T), T a multiple of `shape.frames`, to latents (B, C, T / frames) and back."""

    def __init__(self, shape: LinearVaeShape) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = nn.Conv1d(shape.mels, 2 * shape.latent_channels, shape.frames, stride=shape.frames)
        self.decoder = nn.ConvTranspose1d(shape.latent_channels, shape.mels, shape.frames, stride=shape.frames)

    def encode(self, mel_BFT: torch.Tensor) -> Posterior:
        mean, logvar = self.encoder(mel_BFT).chunk(2, dim=1)
        return Posterior(mean, logvar)

    def decode(self, latent_BCT: torch.Tensor) -> torch.Tensor:
        return self.decoder(latent_BCT)  # type: ignore[no-any-return]


def patches(mel_BFT: torch.Tensor, frames: int) -> torch.Tensor:
    """(N, mels * frames): the numbers of each step by themselves."""
    clips, mels, length = mel_BFT.shape
    return mel_BFT.reshape(clips, mels, length // frames, frames).transpose(1, 2).reshape(-1, mels * frames)


def fitted(mean_F: torch.Tensor, covariance_DD: torch.Tensor, shape: LinearVaeShape) -> LinearVae:
    """The optimum for patches of this covariance (D = mels * frames) around the bands' means."""
    channels, weight = shape.latent_channels, (-1, shape.mels, shape.frames)
    values, vectors = torch.linalg.eigh(covariance_DD.double())
    kept, directions_CD = values[-channels:].flip(0), vectors[:, -channels:].flip(1).T
    noise = values[:-channels].mean()
    gains = (kept - noise).sqrt()
    read_CFT = ((gains / kept)[:, None] * directions_CD).reshape(weight)
    vae = LinearVae(shape)
    vae.encoder.weight = _fixed(torch.cat([read_CFT, torch.zeros_like(read_CFT)]))
    vae.encoder.bias = _fixed(torch.cat([-(read_CFT.sum(dim=2) @ mean_F.double()), (noise / kept).log()]))
    vae.decoder.weight = _fixed((gains[:, None] * directions_CD).reshape(weight))
    vae.decoder.bias = _fixed(mean_F)
    return vae


def _fixed(value: torch.Tensor) -> nn.Parameter:
    return nn.Parameter(value.float(), requires_grad=False)


def shape_of(state: dict[str, torch.Tensor]) -> LinearVaeShape:
    """The sizes of a linear VAE from its tensors. KeyError names what is missing."""
    channels, mels, frames = state["decoder.weight"].shape
    return LinearVaeShape(frames=int(frames), latent_channels=int(channels), mels=int(mels))
