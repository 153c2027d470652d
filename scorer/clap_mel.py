"""What CLAP's audio tower hears: LAION's handling of a clip, and the log-mel spectrogram, on the model's device.

The released code (laion-clap, hook.py and training/data.py) rounds samples to 16 bits, repeats a shorter clip as
often as it fits whole and fills up with zeros, and takes a random 10 s of a longer one, or (fusion checkpoints)
the whole shrunk to 10 s beside three random crops. Random is no basis for a score that is stored: here a crop is
the middle one, fusion takes the middle of each third, and `windows`, the default, hears all of a long clip.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as fn

from scorer.load import ClapOptions
from scorer.windows import SLACK, windows


@dataclass(frozen=True)
class FrontEnd:
    """LAION's numbers by default. `mel_filters` is the mel filter bank, (fft/2 + 1, mels)."""

    mel_filters: np.ndarray
    sample_rate_hz: int = 48_000
    window_s: float = 10.0
    fft_size: int = 1024
    hop_size: int = 480

    @property
    def window_samples(self) -> int:
        return int(self.window_s * self.sample_rate_hz)


def laion_front_end(*, fusion: bool) -> FrontEnd:
    """As LAION's checkpoints want it. Fusion ones were trained with another filter bank (HTK's, not Slaney's)."""
    from transformers import ClapFeatureExtractor

    extractor = ClapFeatureExtractor(frequency_min=50, frequency_max=14_000)
    extractor.truncation = "fusion" if fusion else "rand_trunc"
    return front_end_of(extractor)


def front_end_of(extractor: Any) -> FrontEnd:
    """The same numbers from a ClapFeatureExtractor of transformers."""
    fusion = extractor.truncation == "fusion"
    return FrontEnd(
        mel_filters=np.asarray(extractor.mel_filters if fusion else extractor.mel_filters_slaney, dtype=np.float32),
        sample_rate_hz=int(extractor.sampling_rate),
        window_s=float(extractor.max_length_s),
        fft_size=int(extractor.fft_window_size),
        hop_size=int(extractor.hop_length),
    )


class LogMel(nn.Module):
    """(B, N) samples -> (B, T, mels) in dB, floor -100: Hann window, reflected ends, power, no cut at the top.

    Only the bins under the highest filter are squared (300 of 513 for LAION's 14 kHz): a fifth of torch.stft's time.
    """

    window: torch.Tensor
    mel_filters: torch.Tensor

    def __init__(self, front_end: FrontEnd) -> None:
        super().__init__()
        self.fft_size, self.hop_size = front_end.fft_size, front_end.hop_size
        bins = int(np.flatnonzero(front_end.mel_filters.any(axis=1)).max()) + 1
        self.register_buffer("window", torch.hann_window(front_end.fft_size), persistent=False)
        self.register_buffer("mel_filters", torch.from_numpy(front_end.mel_filters[:bins].copy()), persistent=False)

    def forward(self, wave_BN: torch.Tensor) -> torch.Tensor:
        half = self.fft_size // 2
        around = fn.pad(wave_BN[:, None], (half, half), mode="reflect")[:, 0]
        frames = around.unfold(1, self.fft_size, self.hop_size) * self.window
        spectrum = torch.view_as_real(torch.fft.rfft(frames)[..., : len(self.mel_filters)]).square()
        power_BTF = spectrum[..., 0] + spectrum[..., 1]
        return 10 * torch.log10((power_BTF @ self.mel_filters).clamp(min=1e-10))


def round_to_16_bits(wave: np.ndarray) -> np.ndarray:
    """As the released code does it: clipped to [-1, 1], times 32767, cut towards zero."""
    whole = (np.clip(wave, -1.0, 1.0) * 32767.0).astype(np.int16)
    return np.asarray(whole / 32767.0, dtype=np.float32)


def filled(wave: np.ndarray, size: int, filling: str | None) -> np.ndarray:
    """A clip of at most `size` samples brought to `size`."""
    if filling == "repeat":
        return np.resize(wave, size)
    if filling == "repeatpad":
        wave = np.tile(wave, max(size // wave.size, 1))
    return np.pad(wave, (0, size - wave.size))


def parts_of(wave: np.ndarray, size: int, options: ClapOptions) -> list[np.ndarray]:
    """What the tower hears of one clip: pieces of `size` samples, or (fusion) the whole clip if it is longer."""
    if options.int16_rounding:
        wave = round_to_16_bits(wave)
    if wave.size > size * SLACK and options.long_clips == "fusion":
        return [wave]
    if wave.size > size and options.long_clips == "crop":
        first = (wave.size - size) // 2
        return [wave[first : first + size]]
    return [filled(part, size, options.filling) for part in windows(wave, size, repeat=False)]


def fused_mel(mel_TF: torch.Tensor, frames: int) -> torch.Tensor:
    """A long clip's mel (T, mels) -> (4, frames, mels): the whole shrunk, and the middle crop of each third."""
    last = mel_TF.shape[0] - frames
    thirds = np.array_split(np.arange(last + 1), 3)
    starts = [int(third[len(third) // 2]) if len(third) else 0 for third in thirds]
    shrunk = fn.interpolate(mel_TF[None, None], (frames, mel_TF.shape[1]), mode="bilinear", align_corners=False)
    return torch.stack([shrunk[0, 0], *(mel_TF[start : start + frames] for start in starts)])
