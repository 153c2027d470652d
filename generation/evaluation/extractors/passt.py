"""PaSST-S, a transformer that hears AudioSet's 527 classes: AudioCraft and TangoFlux report KL by it.

Loads the published file that hear21passt and AudioCraft use (`passt-s-f128-p16-s10-ap.476-swa.pt`). A clip is cut into
windows of 10 s end to end; a rest of 0.15 s or less is left out, as in AudioCraft. The clip's vector is the mean of its
windows', its logits the logarithm of their mean softmax: the softmax of these is what AudioCraft compares. (A sigmoid
of them means nothing.)

Front end: 32 kHz, pre-emphasis 0.97, window of 25 ms every 10 ms (symmetric Hann), FFT of 1024, power, 128 mel bands
to 15 kHz, (ln(mel + 1e-5) + 4.5) / 5. Shapes: B windows, K tokens, D = 768.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as fn

from generation.evaluation.classes import softmax
from generation.evaluation.extractors.face import Embedded
from generation.evaluation.extractors.weights import by_length, fill, on_cpu, read_weights, stacked

SAMPLE_RATE_HZ = 32_000
WINDOW_S = 10.0
WINDOW_SAMPLES = round(WINDOW_S * SAMPLE_RATE_HZ)
SHORTEST_SAMPLES = round(0.15 * SAMPLE_RATE_HZ)
DIM, CLASSES = 768, 527
BANDS, FFT, HOP, WIN = 128, 1024, 320, 800
HIGHEST_HZ = 15_000.0
PATCH, STRIDE = 16, 10
GRID = (12, 99)  # patches by frequency and by time of 10 s
DEPTH, HEADS = 12, 12
_AT_ONCE = 4


class LogMel(nn.Module):
    """(B, N) samples -> (B, 128, T)."""

    window: torch.Tensor
    filters: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(WIN, periodic=False), persistent=False)
        self.register_buffer("filters", torch.from_numpy(mel_filters()), persistent=False)

    def forward(self, wave_BN: torch.Tensor) -> torch.Tensor:
        sharper = wave_BN[:, 1:] - 0.97 * wave_BN[:, :-1]
        spectrum = torch.stft(sharper, FFT, HOP, WIN, self.window, return_complex=True)
        power = spectrum.real.square() + spectrum.imag.square()
        return ((self.filters @ power + 1e-5).log() + 4.5) / 5.0


def mel_filters() -> np.ndarray:
    """(128, 513): Kaldi's triangles, which are straight lines over the mel scale; the last bin belongs to none."""
    edges = np.linspace(0.0, _mel(HIGHEST_HZ), BANDS + 2)[:, None]
    bins = _mel(np.arange(FFT // 2) * (SAMPLE_RATE_HZ / FFT))
    low, mid, high = edges[:-2], edges[1:-1], edges[2:]
    triangles = np.maximum(np.minimum((bins - low) / (mid - low), (high - bins) / (high - mid)), 0.0)
    return np.pad(triangles, ((0, 0), (0, 1))).astype(np.float32)


def _mel(hz: float | np.ndarray) -> np.ndarray:
    return np.asarray(1127.0 * np.log(1.0 + np.asarray(hz) / 700.0))


class Attention(nn.Module):
    """Of all tokens to all, in twelve heads."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(DIM, 3 * DIM)
        self.proj = nn.Linear(DIM, DIM)

    def forward(self, x_BKD: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x_BKD).unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        out: torch.Tensor = self.proj(fn.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return out


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(DIM, 4 * DIM), nn.Linear(4 * DIM, DIM)

    def forward(self, x_BKD: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.fc2(fn.gelu(self.fc1(x_BKD)))
        return out


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(DIM, eps=1e-6), Attention()
        self.norm2, self.mlp = nn.LayerNorm(DIM, eps=1e-6), Mlp()

    def forward(self, x_BKD: torch.Tensor) -> torch.Tensor:
        x_BKD = x_BKD + self.attn(self.norm1(x_BKD))
        out: torch.Tensor = x_BKD + self.mlp(self.norm2(x_BKD))
        return out


class PasstNet(nn.Module):
    """(B, 128, T) log-mel, T to 1000 frames -> (B, 768) and (B, 527) logits; names as in the published file.

    Two tokens look at all patches; their mean is the vector. `head_dist` is in the file and unused, as there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(1, DIM, PATCH, STRIDE)})
        self.cls_token = nn.Parameter(torch.zeros(1, 1, DIM))
        self.dist_token = nn.Parameter(torch.zeros(1, 1, DIM))
        self.new_pos_embed = nn.Parameter(torch.zeros(1, 2, DIM))
        self.freq_new_pos_embed = nn.Parameter(torch.zeros(1, DIM, GRID[0], 1))
        self.time_new_pos_embed = nn.Parameter(torch.zeros(1, DIM, 1, GRID[1]))
        self.blocks = nn.Sequential(*(Block() for _ in range(DEPTH)))
        self.norm = nn.LayerNorm(DIM, eps=1e-6)
        self.head = nn.Sequential(nn.LayerNorm(DIM), nn.Linear(DIM, CLASSES))
        self.head_dist = nn.Linear(DIM, CLASSES)

    def forward(self, mel_BFT: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        patches = self.patch_embed["proj"](mel_BFT[:, None])
        patches = patches + self.time_new_pos_embed[..., : patches.shape[-1]] + self.freq_new_pos_embed
        tokens = torch.cat([self.cls_token, self.dist_token], dim=1) + self.new_pos_embed
        seen = torch.cat([tokens.expand(len(patches), -1, -1), patches.flatten(2).transpose(1, 2)], dim=1)
        vector = self.norm(self.blocks(seen))[:, :2].mean(dim=1)
        return vector, self.head(vector)


class Passt:
    """See face.Extractor."""

    name = "passt"
    sample_rate_hz = SAMPLE_RATE_HZ
    window_s: float | None = None
    dim = DIM

    def __init__(self, path: Path, device: str = "cpu") -> None:
        state, _, self.weights_sha256 = read_weights(path)
        self.device = device
        self._net = fill(PasstNet(), state, f"{path} (PaSST-S)", device)
        self._log_mel = LogMel().to(device)

    @torch.inference_mode()
    def embed(self, waves: Sequence[np.ndarray]) -> Embedded:
        per_clip = [windows_of(wave) for wave in waves]
        flat = [window for windows in per_clip for window in windows]
        vectors = np.zeros((len(flat), DIM), dtype=np.float32)
        logits = np.zeros((len(flat), CLASSES), dtype=np.float32)
        for places in by_length(flat, _AT_ONCE):
            found = self._net(self._log_mel(stacked([flat[place] for place in places], self.device)))
            vectors[places], logits[places] = on_cpu(found[0]), on_cpu(found[1])
        ends = np.cumsum([len(windows) for windows in per_clip])[:-1]
        mean_vectors = [some.mean(axis=0) for some in np.split(vectors, ends)]
        log_mean = [np.log(softmax(some).mean(axis=0) + np.finfo(np.float64).tiny) for some in np.split(logits, ends)]
        return Embedded(np.stack(mean_vectors), np.stack(log_mean).astype(np.float32))


def windows_of(wave: np.ndarray) -> list[np.ndarray]:
    """A clip's windows of 10 s; a clip of less than 0.16 s, which makes no patch, is filled up with silence."""
    parts = [wave[first : first + WINDOW_SAMPLES] for first in range(0, wave.size, WINDOW_SAMPLES)]
    long_enough = [part for part in parts if part.size > SHORTEST_SAMPLES]
    least = PATCH * HOP
    return [np.pad(part, (0, max(least - part.size, 0))) for part in long_enough or parts[:1]]
