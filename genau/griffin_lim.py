"""The vocoder without weights: a log-mel to a wave by guessing phases (Griffin & Lim 1984, the fast form of 2013).

    wave_BN = GriffinLim()(mel_BFT)      # the face of genau.vocoder.Vocoder

Magnitudes of the STFT are those that give the mel bands (multiplicative updates keep them above zero); phases come out
of going to and fro between wave and spectrum, which torch's own STFT does. It sounds like a tin box and needs no
download: the embedded VAE goes with it.
"""

from __future__ import annotations

import torch
from torch import nn

from genau.mel import MelShape, mel_filters

ROUNDS = 32
#: How far each round overshoots: 0 is Griffin & Lim's own, 0.99 converges faster (Perraudin et al. 2013).
MOMENTUM = 0.99
UNMIX_ROUNDS = 30
TINY = 1e-8
#: Log magnitudes beyond any sound's, from a net that has not learned yet: their squares must not overflow.
LOUDEST = 20.0


class GriffinLim(nn.Module):
    """(B, F, T) natural log of mel magnitudes -> (B, T hop) samples. No clip depends on the others of its batch."""

    window: torch.Tensor
    filters: torch.Tensor

    def __init__(self, shape: MelShape | None = None, rounds: int = ROUNDS) -> None:
        super().__init__()
        self.shape, self.rounds = shape or MelShape(), rounds
        self.register_buffer("window", torch.hann_window(self.shape.fft), persistent=False)
        self.register_buffer("filters", torch.from_numpy(mel_filters(self.shape)), persistent=False)

    @torch.no_grad()
    def forward(self, mel_BFT: torch.Tensor) -> torch.Tensor:
        # A frame more at both ends: torch's frames lie around multiples of the hop, the mel's half a hop later.
        size = self._magnitudes(mel_BFT.float().clamp(max=LOUDEST).exp())
        size = torch.cat([size[..., :1], size, size[..., -1:]], dim=2)
        phase, before = self._first_phases(size), torch.zeros((), device=size.device)
        for _ in range(self.rounds):
            heard = self._spectrum(self._wave(size * phase))
            pushed = heard - MOMENTUM / (1 + MOMENTUM) * before
            phase, before = pushed / pushed.abs().clamp(min=TINY), heard
        half = self.shape.hop // 2
        return self._wave(size * phase)[:, half : half + mel_BFT.shape[2] * self.shape.hop]

    def _magnitudes(self, mel_BFT: torch.Tensor) -> torch.Tensor:
        """(B, F, T) -> (B, fft / 2 + 1, T), at or above zero, whose mel bands come near to the given ones."""
        wanted = self.filters @ mel_BFT
        size = wanted.clamp(min=TINY)
        for _ in range(UNMIX_ROUNDS):
            # Smaller ones would end as denormal numbers, with which a CPU computes slowly.
            size = (size * wanted / (self.filters @ (self.filters.T @ size)).clamp(min=TINY)).clamp(min=TINY)
        return size

    def _first_phases(self, size_BKT: torch.Tensor) -> torch.Tensor:
        draw = torch.Generator().manual_seed(0)
        angles = torch.rand(size_BKT.shape[1:], generator=draw) * 2 * torch.pi
        return torch.polar(torch.ones_like(angles), angles).to(size_BKT.device)

    def _spectrum(self, wave_BN: torch.Tensor) -> torch.Tensor:
        return torch.stft(wave_BN, self.shape.fft, self.shape.hop, window=self.window, return_complex=True)

    def _wave(self, spectrum_BKT: torch.Tensor) -> torch.Tensor:
        return torch.istft(spectrum_BKT, self.shape.fft, self.shape.hop, window=self.window)
