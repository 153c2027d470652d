"""Waves to latents and back: log-mel, VAE, vocoder, as one frozen part that moves to a device.

codec = load_codec("embedded")                   # or a model folder, a published file; a vocoder's file
posterior = codec.encode(wave_BN)                # (B, C, T / 640) Gaussians, not scaled yet
wave_BN = codec.to_wave(latent_BCT)
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from genau.card import GRIFFIN_LIM
from genau.checkpoint import build_vae, build_vocoder, read_vae, read_vocoder
from genau.griffin_lim import GriffinLim
from genau.linear_vae import LinearVae, LinearVaeShape
from genau.mel import SAMPLE_RATE_HZ, LogMel
from genau.vae import Posterior, Vae, VaeShape
from genau.vocoder import Vocoder

#: The small VAE that comes with the project (genau/train_tiny_vae.py): 16 numbers for each 40 ms, of variance 1.
EMBEDDED = "embedded"
WEIGHTS = Path(__file__).parent / "weights" / "embedded-vae"


class Codec(nn.Module):
    """`model` and `weights_sha256` say which VAE it is, `vocoder_name` which vocoder.

    In float32 also under the autocast of a training that validates: logarithms and phases come of small differences.
    """

    sample_rate_hz = SAMPLE_RATE_HZ

    def __init__(
        self,
        vae: Vae | LinearVae,
        vocoder: Vocoder | GriffinLim,
        *,
        model: str = "",
        weights_sha256: str = "",
        vocoder_name: str = "",
    ) -> None:
        super().__init__()
        self.log_mel, self.vae, self.vocoder = LogMel(), vae, vocoder
        self.model, self.weights_sha256, self.vocoder_name = model, weights_sha256, vocoder_name
        self.eval().requires_grad_(False)

    @property
    def shape(self) -> VaeShape | LinearVaeShape:
        return self.vae.shape

    def mel(self, wave_BN: torch.Tensor) -> torch.Tensor:
        """(B, 64, N / 160)."""
        with _exactly(wave_BN):
            mel_BTF: torch.Tensor = self.log_mel(wave_BN)
        return mel_BTF.transpose(1, 2)

    def encode(self, wave_BN: torch.Tensor) -> Posterior:
        with _exactly(wave_BN):
            return self.vae.encode(self.mel(wave_BN))

    def decode(self, latent_BCT: torch.Tensor) -> torch.Tensor:
        """(B, 64, 4 T)."""
        with _exactly(latent_BCT):
            return self.vae.decode(latent_BCT)

    def to_wave(self, latent_BCT: torch.Tensor) -> torch.Tensor:
        """(B, 640 T) samples, loud as they come."""
        mel = self.decode(latent_BCT).float()
        with _exactly(mel):
            wave: torch.Tensor = self.vocoder(mel)
        return wave[:, : mel.shape[2] * self.log_mel.shape.hop]


def _exactly(like: torch.Tensor) -> torch.autocast:
    return torch.autocast(like.device.type, enabled=False)


def load_codec(vae: str, vocoder: str | None = None) -> Codec:
    """On the CPU, in float32. `vocoder`: a HiFi-GAN's file; None: the one in the VAE's file, or Griffin-Lim.

    WeightsError says what cannot be read.
    """
    found = read_vae(folder_of(vae))
    name = vae if found.vocoder else GRIFFIN_LIM
    made = build_vocoder(found.vocoder, f"the vocoder of {vae}") if found.vocoder else GriffinLim()
    if vocoder is not None:
        name, made = vocoder, load_vocoder(vocoder)
    return Codec(
        build_vae(found.state, f"the VAE of {vae}"),
        made,
        model=vae,
        weights_sha256=found.weights_sha256,
        vocoder_name=name,
    )


def folder_of(vae: str) -> Path:
    return WEIGHTS if vae == EMBEDDED else Path(vae)


def load_vocoder(place: str | None) -> Vocoder | GriffinLim:
    """A HiFi-GAN's file, or Griffin-Lim for none."""
    if place is None or place == GRIFFIN_LIM:
        return GriffinLim()
    return build_vocoder(read_vocoder(Path(place))[0], f"the vocoder of {place}")
