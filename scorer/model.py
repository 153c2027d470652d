"""The small CLAP: a CNN that hears ten seconds, a two-layer transformer that reads a phrase, one space of 384.

Choices: 63 audio tokens of 160 ms from a depthwise-residual CNN on 64 mel bands; the clip's vector is a learned
one (attention pooling) plus a gated mix of the texts of 521 AudioSet classes, weighted by how likely each is
heard, so that rare captions are reached through class names. The mean embedding of the training scenes
(`centre`) is taken off, which removes the liking of every audio for the same few captions; the class texts are
centred too. How classes are mixed was chosen with the teacher itself on recordings of training packages.

Shapes: B clips, T = 1008 mel frames, F = 64 bands, K = 63 tokens, C = 521 classes, L text tokens, D = 384.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as fn

WIDTHS = (32, 48, 96, 256, 512)
DIM = 384
TOKENS = 63
TOKEN_DIM = WIDTHS[-1]
CLASSES = 521
SILENCE_CLASS = 494
TOKENS_PER_PATCH = 6  # the teacher's 0.96 s
TOKENS_PER_HOP = 3
TEXT_WIDTH = 256
TEXT_LAYERS = 2
MAX_TEXT_TOKENS = 48
PAD_ID = 0


class Heard(NamedTuple):
    """What the audio tower makes of a window."""

    tokens: torch.Tensor  # (B, K, 512): for the captioner
    class_logits: torch.Tensor  # (B, 20, C) per patch
    patches: torch.Tensor  # (B, 20, 512): the tokens of each patch, averaged
    clip: torch.Tensor  # (B, D), not normalised, not centred


class Residual(nn.Module):
    """Depthwise 3x3, then a widening pointwise pair; the input is added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.up = nn.Conv2d(width, 2 * width, 1)
        self.down = nn.Conv2d(2 * width, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = x + self.down(fn.relu(self.up(self.norm(self.mix(x)))))
        return out


def shrink(width_in: int, width_out: int, stride: tuple[int, int]) -> nn.Sequential:
    kernel = (3 if stride[0] > 1 else 1, 3)
    padding = (kernel[0] // 2, 1)
    return nn.Sequential(
        nn.Conv2d(width_in, width_out, kernel, stride, padding, bias=False), nn.BatchNorm2d(width_out), nn.ReLU()
    )


class AudioTower(nn.Module):
    """(B, T, F) log-mel -> Heard."""

    class_text: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        w = WIDTHS
        self.trunk = nn.Sequential(
            nn.Conv2d(1, w[0], 5, (4, 2), 2, bias=False),
            nn.BatchNorm2d(w[0]),
            nn.ReLU(),
            shrink(w[0], w[1], (2, 2)),
            Residual(w[1]),
            shrink(w[1], w[2], (2, 2)),
            Residual(w[2]),
            Residual(w[2]),
            shrink(w[2], w[3], (1, 2)),
            Residual(w[3]),
            Residual(w[3]),
            Residual(w[3]),
            shrink(w[3], w[4], (1, 2)),
            Residual(w[4]),
            Residual(w[4]),
        )
        self.attend = nn.Linear(TOKEN_DIM, 4)
        self.project = nn.Linear(TOKEN_DIM, DIM)
        self.classify = nn.Linear(TOKEN_DIM, CLASSES)
        self.gate = nn.Parameter(torch.tensor(1.0))
        self.register_buffer("class_text", torch.zeros(CLASSES, DIM))
        self.trunk.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # faster on a CPU

    def forward(self, mel_BTF: torch.Tensor) -> Heard:
        tokens = self.trunk(((mel_BTF + 4.0) / 3.0)[:, None]).mean(dim=3).transpose(1, 2)  # (B, K, 512)
        patches = fn.avg_pool1d(tokens.transpose(1, 2), TOKENS_PER_PATCH, TOKENS_PER_HOP).transpose(1, 2)
        logits = self.classify(patches)
        weights = self.attend(tokens).softmax(dim=1)  # (B, K, 4)
        pooled = torch.einsum("bkh,bkhd->bhd", weights, tokens.unflatten(2, (4, -1))).flatten(1)
        clip = self.project(pooled) + self.gate * class_mix(logits.float().sigmoid(), self.class_text)
        return Heard(tokens, logits, patches, clip)


def class_mix(probabilities_BPC: torch.Tensor, class_text_CD: torch.Tensor) -> torch.Tensor:
    """The classes heard, as one direction among texts: the loudest moments count most, silence not at all.

    Fourth-power mean over the patches, then to the power 0.6, which lets what is faintly heard speak up.
    """
    floor = 1e-12
    loud = (probabilities_BPC.pow(4).mean(dim=1) + floor).pow(0.15) - floor**0.15
    loud = torch.cat([loud[:, :SILENCE_CLASS], 0 * loud[:, :1], loud[:, SILENCE_CLASS + 1 :]], dim=1)
    return fn.normalize(loud @ class_text_CD, dim=-1)


class TextTower(nn.Module):
    """(B, L) token ids, padded with 0 -> (B, D), not normalised."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, TEXT_WIDTH, padding_idx=PAD_ID)
        self.position = nn.Parameter(torch.randn(MAX_TEXT_TOKENS, TEXT_WIDTH) * 0.02)
        layer = nn.TransformerEncoderLayer(
            TEXT_WIDTH, 4, 3 * TEXT_WIDTH, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, TEXT_LAYERS, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(TEXT_WIDTH)
        self.project = nn.Linear(TEXT_WIDTH, DIM)

    def forward(self, ids_BL: torch.Tensor) -> torch.Tensor:
        absent = ids_BL == PAD_ID
        hidden = self.embed(ids_BL) + self.position[: ids_BL.shape[1]]
        hidden = self.norm(self.layers(hidden, src_key_padding_mask=absent & self._not_first(absent)))
        present = (~absent).unsqueeze(2).to(hidden.dtype)
        mean = (hidden * present).sum(dim=1) / present.sum(dim=1).clamp(min=1)
        out: torch.Tensor = self.project(mean)
        return out

    @staticmethod
    def _not_first(absent_BL: torch.Tensor) -> torch.Tensor:
        """An empty text attends to its first, absent token: to attend to nothing would give no number."""
        return torch.arange(absent_BL.shape[1], device=absent_BL.device) > 0


class SmallClap(nn.Module):
    """Both towers and the centre that is taken off; its state dict is what is shipped."""

    centre: torch.Tensor

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.audio = AudioTower()
        self.text = TextTower(vocabulary)
        self.register_buffer("centre", torch.zeros(DIM))

    def embed_heard(self, heard: Heard) -> torch.Tensor:
        return fn.normalize(fn.normalize(heard.clip, dim=-1) - self.centre, dim=-1)

    def embed_text(self, ids_BL: torch.Tensor) -> torch.Tensor:
        return fn.normalize(self.text(ids_BL), dim=-1)
