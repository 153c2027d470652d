"""PANNs' Cnn14: 2,048 numbers a clip and the logits of AudioSet's 527 classes. FD, IS and KL of most papers are by it.

Loads the published files (`Cnn14_16k_mAP=0.438.pth`: {"model": state}; `Cnn14_mAP=0.431.pth` for 32 kHz). Their window
and mel filters lie in the file, as the kernels of a convolution and a matrix; both are taken from there, so that the
front end is the one it was trained with: magnitudes squared, 10 log10, 64 bands of Slaney's scale.

As AudioLDM's evaluation feeds it: the clip's mean taken off, and silence behind a clip of less than 2 s. Shapes: B
clips, T frames, F = 64 bands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as fn

from generation.evaluation.extractors.face import Embedded
from generation.evaluation.extractors.weights import by_length, fill, on_cpu, read_weights, stacked
from scorer.torch_file import State
from scorer.weights import WeightsError

DIM = 2048
CLASSES = 527
BANDS = 64
SHORTEST_S = 2.0
_WIDTHS = (64, 128, 256, 512, 1024, 2048)
_FRONT_END = r"(spectrogram_extractor|logmel_extractor)\..*"
_WINDOW, _FILTERS = "spectrogram_extractor.stft.conv_real.weight", "logmel_extractor.melW"
_AT_ONCE = 8


@dataclass(frozen=True)
class Shape:
    """Of one published file."""

    name: str
    sample_rate_hz: int
    fft: int
    hop: int


SHAPES = {shape.name: shape for shape in (Shape("panns", 16_000, 512, 160), Shape("panns-32k", 32_000, 1024, 320))}


class ConvBlock(nn.Module):
    """Two 3 x 3 convolutions, then the mean of each `pool` x `pool` patch."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width_out, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(width_out, width_out, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width_out)
        self.bn2 = nn.BatchNorm2d(width_out)

    def forward(self, x: torch.Tensor, pool: int) -> torch.Tensor:
        seen = fn.relu(self.bn2(self.conv2(fn.relu(self.bn1(self.conv1(x))))))
        return fn.avg_pool2d(seen, pool) if pool > 1 else seen


class Cnn14(nn.Module):
    """(B, T, F) log-mel -> (B, 2048) and (B, 527) logits; names as in the published file."""

    def __init__(self) -> None:
        super().__init__()
        self.bn0 = nn.BatchNorm2d(BANDS)
        for number, widths in enumerate(zip((1, *_WIDTHS), _WIDTHS, strict=False), 1):
            setattr(self, f"conv_block{number}", ConvBlock(*widths))
        self.fc1 = nn.Linear(DIM, DIM)
        self.fc_audioset = nn.Linear(DIM, CLASSES)

    def forward(self, mel_BTF: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.bn0(mel_BTF[:, None].transpose(1, 3)).transpose(1, 3)  # each band by itself
        for number in range(1, len(_WIDTHS) + 1):
            x = getattr(self, f"conv_block{number}")(x, pool=1 if number == len(_WIDTHS) else 2)
        over_bands = x.mean(dim=3)
        heard = over_bands.amax(dim=2) + over_bands.mean(dim=2)
        vector = fn.relu(self.fc1(heard))
        return vector, self.fc_audioset(vector)


class LogMel(nn.Module):
    """(B, N) samples -> (B, T, F) in dB, by the checkpoint's own window and filters."""

    window: torch.Tensor
    filters: torch.Tensor

    def __init__(self, state: State, shape: Shape, what: str) -> None:
        super().__init__()
        wanted = {_WINDOW: (shape.fft // 2 + 1, 1, shape.fft), _FILTERS: (shape.fft // 2 + 1, BANDS)}
        for name, size in wanted.items():
            found = tuple(state[name].shape) if name in state else None
            if found != size:
                told = f"has shape {found}, wanted {size}" if found else "is missing"
                raise WeightsError(f"{what} does not fit: {name} {told}; is it the file of {shape.sample_rate_hz} Hz?")
        self.shape = shape
        # The kernel of 0 Hz is the window itself: its cosine is 1.
        self.register_buffer("window", state[_WINDOW][0, 0].float(), persistent=False)
        self.register_buffer("filters", state[_FILTERS].float(), persistent=False)

    def forward(self, wave_BN: torch.Tensor) -> torch.Tensor:
        spectrum = torch.stft(
            wave_BN, self.shape.fft, self.shape.hop, window=self.window, pad_mode="reflect", return_complex=True
        )
        power = spectrum.real.square() + spectrum.imag.square()
        return 10.0 * torch.log10((power.transpose(1, 2) @ self.filters).clamp(min=1e-10))


class Panns:
    """See face.Extractor. `shape`: of SHAPES."""

    window_s: float | None = None
    dim = DIM

    def __init__(self, path: Path, shape: Shape, device: str = "cpu") -> None:
        state, front_end, self.weights_sha256 = read_weights(path, aside=_FRONT_END)
        what = f"{path} (PANNs Cnn14, {shape.sample_rate_hz // 1000} kHz)"
        self.name, self.sample_rate_hz, self.device = shape.name, shape.sample_rate_hz, device
        self._log_mel = LogMel(front_end, shape, what).to(device)
        self._net = fill(Cnn14(), state, what, device)

    @torch.inference_mode()
    def embed(self, waves: Sequence[np.ndarray]) -> Embedded:
        prepared = [self._prepared(wave) for wave in waves]
        vectors = np.zeros((len(waves), DIM), dtype=np.float32)
        logits = np.zeros((len(waves), CLASSES), dtype=np.float32)
        for places in by_length(prepared, _AT_ONCE):
            found = self._net(self._log_mel(stacked([prepared[place] for place in places], self.device)))
            vectors[places], logits[places] = on_cpu(found[0]), on_cpu(found[1])
        return Embedded(vectors, logits)

    def _prepared(self, wave: np.ndarray) -> np.ndarray:
        missing = max(round(SHORTEST_S * self.sample_rate_hz) - wave.size, 0)
        return np.pad(wave - wave.mean(), (0, missing))
