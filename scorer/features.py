"""Log-mel features of a 10 s window, in torch: one front end for the audio tower and for its teacher.

Shapes: B windows, T = 1008 frames of 10 ms, F = 64 mel bands from 125 to 7500 Hz.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

SAMPLE_RATE_HZ = 16_000
WINDOW_SAMPLES = 10 * SAMPLE_RATE_HZ
FRAMES = 1008  # 10.08 s: a whole number of 160 ms tokens; the last 80 ms are silence
BANDS = 64
HOP = 160
WIN = 400
FFT = 512
LOG_FLOOR = 1e-3


class LogMel(nn.Module):
    """(B, 160000) samples -> (B, T, F) natural log of the mel magnitudes."""

    window: torch.Tensor
    filters: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(WIN), persistent=False)
        self.register_buffer("filters", torch.from_numpy(mel_filters()), persistent=False)

    def forward(self, wave_BN: torch.Tensor) -> torch.Tensor:
        padded = nn.functional.pad(wave_BN, (0, (FRAMES - 1) * HOP + FFT - wave_BN.shape[1]))
        spectrum = torch.stft(
            padded, FFT, HOP, WIN, self.window, center=False, return_complex=True, onesided=True
        ).abs()
        return torch.log(spectrum.transpose(1, 2) @ self.filters + LOG_FLOOR)


def mel_filters() -> np.ndarray:
    """(257, 64) triangles on the HTK mel scale, height one."""
    mel = np.linspace(_mel(125.0), _mel(7500.0), BANDS + 2)
    bins = _mel(np.linspace(0, SAMPLE_RATE_HZ / 2, FFT // 2 + 1))[:, None]
    low, mid, high = mel[:-2], mel[1:-1], mel[2:]
    triangles: np.ndarray = np.minimum((bins - low) / (mid - low), (high - bins) / (high - mid))
    return np.asarray(np.maximum(triangles, 0.0), dtype=np.float32)


def _mel(hz: float | np.ndarray) -> np.ndarray:
    return np.asarray(2595.0 * np.log10(1.0 + np.asarray(hz) / 700.0))
