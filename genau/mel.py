"""The log-mel spectrogram that GenAU's VAE and vocoder share, and how a clip is levelled before it.

16 kHz mono, STFT of 1,024 with hop 160, 64 mel bands to 8 kHz, natural logarithm: AudioLDM's front end, which the
paper takes over (arXiv 2406.19388, appendix). 10.24 s give exactly 1,024 frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as fn

SAMPLE_RATE_HZ = 16_000
CLIP_SAMPLES = 163_840
HOP = 160
MELS = 64
FRAMES = CLIP_SAMPLES // HOP

#: The logarithm of the smallest magnitude that is told from nothing.
FLOOR = float(np.log(1e-5))


@dataclass(frozen=True)
class MelShape:
    """Sizes of the front end; the defaults are the published models'."""

    fft: int = 1024
    hop: int = HOP
    mels: int = MELS
    low_hz: float = 0.0
    high_hz: float = 8000.0
    sample_rate_hz: int = SAMPLE_RATE_HZ


def levelled(wave: np.ndarray) -> np.ndarray:
    """The wave without its mean, with a peak of 0.5, as the reference feeds it. Silence stays silence."""
    wave = np.asarray(wave, dtype=np.float32)
    wave = wave - wave.mean() if wave.size else wave
    peak = float(np.abs(wave).max(initial=0.0))
    return wave / (peak + 1e-8) * np.float32(0.5)


def mel_filters(shape: MelShape) -> np.ndarray:
    """(fft / 2 + 1, mels), Slaney's scale with areas of one, as librosa makes them."""
    from transformers.audio_utils import mel_filter_bank

    filters: np.ndarray = mel_filter_bank(
        shape.fft // 2 + 1, shape.mels, shape.low_hz, shape.high_hz, shape.sample_rate_hz, "slaney", "slaney"
    )
    return filters.astype(np.float32)


class LogMel(nn.Module):
    """(B, N) samples -> (B, N / hop, mels), natural logarithm of magnitudes, floor ln 1e-5."""

    window: torch.Tensor
    filters: torch.Tensor

    def __init__(self, shape: MelShape | None = None) -> None:
        super().__init__()
        self.shape = shape or MelShape()
        self.register_buffer("window", torch.hann_window(self.shape.fft), persistent=False)
        self.register_buffer("filters", torch.from_numpy(mel_filters(self.shape)), persistent=False)

    def forward(self, wave_BN: torch.Tensor) -> torch.Tensor:
        beside = (self.shape.fft - self.shape.hop) // 2
        around = fn.pad(wave_BN[:, None], (beside, beside), mode="reflect")[:, 0]
        spectrum = torch.stft(
            around, self.shape.fft, self.shape.hop, window=self.window, center=False, return_complex=True
        )
        return (spectrum.abs().transpose(1, 2) @ self.filters).clamp(min=1e-5).log()
