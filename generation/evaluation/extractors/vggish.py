"""VGGish, what Fréchet Audio Distance is usually measured with: 128 numbers for each 0.96 s.

Loads torchvggish's weights (`vggish-10086976.pth`: features.*, embeddings.*), which are Google's of TensorFlow. As
GenAU's evaluation has it: no PCA, no quantisation, and the ReLU behind the last layer removed.

Front end: 16 kHz, frames of 25 ms every 10 ms, not padded, periodic Hann, FFT of 512, magnitudes, 64 HTK mel bands from
125 to 7500 Hz, ln(mel + 0.01); 96 frames a window, windows end to end, an unfinished one left out. Shapes: B windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from generation.evaluation.extractors.face import Embedded
from generation.evaluation.extractors.weights import fill, on_cpu, read_weights
from scorer.features import BANDS, FFT, HOP, WIN, mel_filters

SAMPLE_RATE_HZ = 16_000
FRAMES = 96
WINDOW_SAMPLES = (FRAMES - 1) * HOP + WIN
DIM = 128
LOG_OFFSET = 0.01
_WINDOWS_AT_ONCE = 64
#: What each stage of the picture is halved after: torchvggish's layers in order.
_WIDTHS: tuple[tuple[int, ...], ...] = ((64,), (128,), (256, 256), (512, 512))


class VggishNet(nn.Module):
    """(B, 1, 96, 64) log-mel -> (B, 128); names as in torchvggish's file."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width_in = 1
        for widths in _WIDTHS:
            for width in widths:
                layers += [nn.Conv2d(width_in, width, 3, padding=1), nn.ReLU()]
                width_in = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.embeddings = nn.Sequential(
            nn.Linear(6 * 4 * 512, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, DIM)
        )

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        # TensorFlow keeps channels last: the file's first linear layer reads time, band, channel.
        seen = self.features(mel).permute(0, 2, 3, 1).flatten(1)
        out: torch.Tensor = self.embeddings(seen)
        return out


class LogMel(nn.Module):
    """(N,) samples -> (windows, 1, 96, 64); a clip shorter than a window is filled up with silence."""

    window: torch.Tensor
    filters: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(WIN), persistent=False)
        self.register_buffer("filters", torch.from_numpy(mel_filters()), persistent=False)

    def forward(self, wave_N: torch.Tensor) -> torch.Tensor:
        missing = max(WINDOW_SAMPLES - wave_N.numel(), 0)
        frames = nn.functional.pad(wave_N, (0, missing)).unfold(0, WIN, HOP)
        magnitudes = torch.fft.rfft(frames * self.window, FFT).abs()
        log_mel = torch.log(magnitudes @ self.filters + LOG_OFFSET)
        whole = len(log_mel) // FRAMES
        return log_mel[: whole * FRAMES].reshape(whole, 1, FRAMES, BANDS)


class Vggish:
    """See face.Extractor."""

    name: str = "vggish"
    sample_rate_hz = SAMPLE_RATE_HZ
    window_s: float | None = FRAMES * HOP / SAMPLE_RATE_HZ
    dim = DIM

    def __init__(self, path: Path, device: str = "cpu") -> None:
        state, _, self.weights_sha256 = read_weights(path)
        self.device = device
        self._net = fill(VggishNet(), state, f"{path} (VGGish)", device)
        self._log_mel = LogMel().to(device)

    @torch.inference_mode()
    def embed(self, waves: Sequence[np.ndarray]) -> Embedded:
        windows = torch.cat([self._log_mel(torch.from_numpy(wave).to(self.device)) for wave in waves])
        return Embedded(np.concatenate([on_cpu(self._net(some)) for some in torch.split(windows, _WINDOWS_AT_ONCE)]))
