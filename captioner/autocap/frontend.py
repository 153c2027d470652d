"""What AutoCap hears: a clip at 32 kHz, brought to one level, as windows of ten seconds, as a log-mel spectrogram.

The reference (arXiv 2406.19388 and its code) takes the mean off, brings the peak to 0.5, and fills up with zeros.
Of a longer clip it hears one random window; here the windows are even, and which of them speak is an option.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as fn

from scorer.clap_mel import FrontEnd
from scorer.windows import check, windows

SAMPLE_RATE_HZ = 32_000
WINDOW_SAMPLES = 10 * SAMPLE_RATE_HZ
#: The reference refuses files of 100 samples and fewer.
MIN_SAMPLES = 101
CLAP_RATE_HZ = 48_000


def front_end() -> FrontEnd:
    """1024-point Hann windows every 320 samples, 64 Slaney mel bands from 50 Hz to 14 kHz: 1001 frames of 10 s."""
    from transformers import ClapFeatureExtractor

    extractor = ClapFeatureExtractor(sampling_rate=SAMPLE_RATE_HZ, frequency_min=50, frequency_max=14_000)
    filters = np.asarray(extractor.mel_filters_slaney, dtype=np.float32)
    return FrontEnd(mel_filters=filters, sample_rate_hz=SAMPLE_RATE_HZ, fft_size=1024, hop_size=320)


def parts_of(wave: np.ndarray, *, every: bool) -> list[np.ndarray]:
    """The windows of a float32 mono wave at 32 kHz, each (320000,), levelled; only the first unless `every`."""
    wave = check(wave)
    if wave.size < MIN_SAMPLES:
        raise ValueError(f"a clip of {wave.size} samples is too short to be captioned: {MIN_SAMPLES} are needed")
    parts = windows(wave, WINDOW_SAMPLES, repeat=False) if every else [wave[:WINDOW_SAMPLES]]
    return [np.pad(level(part), (0, WINDOW_SAMPLES - part.size)) for part in parts]


def level(wave: np.ndarray) -> np.ndarray:
    """Zero mean, peak 0.5; silence stays silence."""
    wave = wave - wave.mean(dtype=np.float32)
    return np.asarray(0.5 * wave / (np.abs(wave).max() + np.float32(1e-8)), dtype=np.float32)


class ClapResampler(nn.Module):
    """(B, N) at 32 kHz -> (B, 3 N / 2) at 48 kHz: windowed sinc, Hann, width 6, roll-off 0.99 (torchaudio's recipe)."""

    kernel: torch.Tensor

    def __init__(self, width: int = 6, roll_off: float = 0.99) -> None:
        super().__init__()
        old, new = 2, 3
        base = min(old, new) * roll_off
        self.reach = math.ceil(width * old / base)
        at = torch.arange(-self.reach, self.reach + old, dtype=torch.float64) / old
        at = (at[None] - torch.arange(new, dtype=torch.float64)[:, None] / new) * base
        at = at.clamp(-width, width)
        kernel = torch.sinc(at) * torch.cos(at * math.pi / width / 2) ** 2 * base / old
        self.register_buffer("kernel", kernel.float()[:, None], persistent=False)
        self.old, self.new = old, new

    def forward(self, wave_BN: torch.Tensor) -> torch.Tensor:
        samples = wave_BN.shape[-1]
        padded = fn.pad(wave_BN[:, None], (self.reach, self.reach + self.old))
        found = fn.conv1d(padded, self.kernel, stride=self.old).transpose(1, 2).flatten(1)
        return found[:, : math.ceil(self.new * samples / self.old)]
