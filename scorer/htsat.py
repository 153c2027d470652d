"""HTS-AT, the audio tower of LAION's CLAP: a Swin transformer over a log-mel spectrogram folded into a square.

    mel (B, C, T=1001, 64) ─norm, stretch to 1024─► (B, C, 256, 256) ─4x4 patches─► 64 x 64 tokens ─4 stages─► 8 x 8

Own inference code after the papers (HTS-AT, arXiv 2202.00874; Swin, arXiv 2103.14030; feature fusion, arXiv
2211.06687); parameters carry the names of LAION's checkpoints. Against the towers of transformers it keeps each
block in window order, does attention in one fused call, and adds bias and shift mask as one prepared tensor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as fn

#: Added between tokens of a shifted window that are no neighbours in the picture.
APART = -100.0


@dataclass(frozen=True)
class HtsatShape:
    """Sizes of one tower. LAION's HTSAT-tiny: width 96, depths 2-2-6-2; HTSAT-base: 128, 2-2-12-2."""

    width: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    window: int = 8
    mels: int = 64
    picture: int = 256  # side of the folded spectrogram
    patch: int = 4
    fusion: bool = False  # has the layers that merge three crops of a long clip into the whole
    fusion_width: int = 0

    @property
    def folds(self) -> int:
        """Blocks of time that are stacked on the frequency axis."""
        return self.picture // self.mels

    @property
    def out_width(self) -> int:
        return int(self.width * 2 ** (len(self.depths) - 1))


class Htsat(nn.Module):
    """Log-mel (B, C, T, mels) in dB -> tokens (B, K, out_width), K = 64 for the published sizes.

    C is 1, or 4 for a long clip that a fusion tower hears: the shrunk whole and three crops. A fusion tower hears a
    short clip as any other does (LAION's evaluation; transformers fuses one of them with itself). Call `prepare`
    after the weights are in; in train mode the attention bias follows its table, and `eval` prepares it anew.
    """

    def __init__(self, shape: HtsatShape) -> None:
        super().__init__()
        self.shape = shape
        self.bn0 = nn.BatchNorm2d(shape.mels)
        self.patch_embed = PatchEmbed(shape)
        side = shape.picture // shape.patch
        stages = []
        for at, (depth, heads) in enumerate(zip(shape.depths, shape.heads, strict=True)):
            last = at == len(shape.depths) - 1
            stages.append(Stage(shape.width * 2**at, depth, heads, shape.window, side >> at, merge=not last))
        self.layers = nn.ModuleList(stages)
        self.norm = nn.LayerNorm(shape.out_width)

    def prepare(self) -> None:
        """Work out what depends on the weights only: each block's attention bias."""
        for module in self.modules():
            if isinstance(module, Block):
                module.prepare()

    def train(self, mode: bool = True) -> Htsat:
        super().train(mode)
        if not mode:
            self.prepare()
        return self

    def forward(self, mel_BCTF: torch.Tensor) -> torch.Tensor:
        normed = self.bn0(mel_BCTF.transpose(1, 3)).transpose(1, 3)
        # The front stays in float32 where the tower is held in less.
        tokens = self.patch_embed(self.fold(normed).to(self.norm.weight.dtype))
        for stage in self.layers:
            tokens = stage(tokens)
        return torch.as_tensor(self.norm(tokens).flatten(1, 2))

    def fold(self, mel_BCTF: torch.Tensor) -> torch.Tensor:
        """Time is stretched to fill the picture, cut into blocks, and the blocks stacked on the frequency axis."""
        batch, channels, frames, mels = mel_BCTF.shape
        width = self.shape.picture * self.shape.folds
        if mels != self.shape.mels or frames > width:
            raise ValueError(f"a mel of {frames} x {mels} does not fit a tower of {width} x {self.shape.mels}")
        if frames < width:
            mel_BCTF = fn.interpolate(mel_BCTF, (width, mels), mode="bicubic", align_corners=True)
        blocks = mel_BCTF.reshape(batch, channels, self.shape.folds, self.shape.picture, mels)
        return blocks.transpose(3, 4).reshape(batch, channels, self.shape.picture, self.shape.picture)


class PatchEmbed(nn.Module):
    """(B, C, 256, 256) -> (B, 64, 64, width)."""

    def __init__(self, shape: HtsatShape) -> None:
        super().__init__()
        patch = shape.patch
        self.proj = nn.Conv2d(1, shape.width, patch, patch)
        self.norm = nn.LayerNorm(shape.width)
        if shape.fusion:
            self.mel_conv2d = nn.Conv2d(1, shape.width, (patch, 3 * patch), (patch, 3 * patch))
            self.fusion_model = AttentionalFusion(shape.width, shape.fusion_width)

    def forward(self, picture_BCHW: torch.Tensor) -> torch.Tensor:
        whole = self.proj(picture_BCHW[:, :1])
        if picture_BCHW.shape[1] > 1:
            whole = self.fusion_model(whole, self._crops(picture_BCHW[:, 1:], whole.shape[-1]))
        return torch.as_tensor(self.norm(whole.permute(0, 2, 3, 1)))

    def _crops(self, crops_BCHW: torch.Tensor, width: int) -> torch.Tensor:
        """Three crops, each embedded three times coarser in time, side by side."""
        batch, crops = crops_BCHW.shape[:2]
        local = self.mel_conv2d(crops_BCHW.flatten(0, 1).unsqueeze(1))
        local = local.unflatten(0, (batch, crops)).permute(0, 2, 3, 1, 4).flatten(3)
        return fn.pad(local, (0, width - local.shape[-1]))


class AttentionalFusion(nn.Module):
    """Weighs two feature maps by attention over both, locally and as a whole (AFF, arXiv 2009.14082)."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.local_att = nn.Sequential(*attention_layers(width, inner))
        self.global_att = nn.Sequential(nn.AdaptiveAvgPool2d(1), *attention_layers(width, inner))

    def forward(self, whole: torch.Tensor, crops: torch.Tensor) -> torch.Tensor:
        both = whole + crops
        weight = torch.sigmoid(self.local_att(both) + self.global_att(both))
        return torch.as_tensor(2 * whole * weight + 2 * crops * (1 - weight))


def attention_layers(width: int, inner: int) -> list[nn.Module]:
    return [
        nn.Conv2d(width, inner, 1), nn.BatchNorm2d(inner), nn.ReLU(),
        nn.Conv2d(inner, width, 1), nn.BatchNorm2d(width),
    ]  # fmt: skip


class Stage(nn.Module):
    """Blocks at one resolution, every second one over shifted windows; then, but for the last, 2 x 2 merging."""

    def __init__(self, width: int, depth: int, heads: int, window: int, side: int, *, merge: bool) -> None:
        super().__init__()
        size = min(window, side)
        shifts = [size // 2 if at % 2 and side > window else 0 for at in range(depth)]
        self.blocks = nn.ModuleList([Block(width, heads, size, side, shift) for shift in shifts])
        self.downsample = PatchMerging(width) if merge else None

    def forward(self, tokens_BHWD: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            tokens_BHWD = block(tokens_BHWD)
        return tokens_BHWD if self.downsample is None else torch.as_tensor(self.downsample(tokens_BHWD))


class Block(nn.Module):
    """Attention within windows, then an MLP, each with its norm before it; all of it in window order."""

    bias: torch.Tensor
    apart: torch.Tensor

    def __init__(self, width: int, heads: int, window: int, side: int, shift: int) -> None:
        super().__init__()
        self.window, self.side, self.shift = window, side, shift
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, heads, window)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width)
        self.register_buffer("bias", torch.zeros(0), persistent=False)
        self.register_buffer("apart", self._apart(), persistent=False)

    def prepare(self) -> None:
        self.bias = (self.attn.position_bias() + self.apart).detach().contiguous()

    def forward(self, tokens_BHWD: torch.Tensor) -> torch.Tensor:
        windows = self._to_windows(tokens_BHWD)  # (B, windows, tokens, D)
        bias = self.attn.position_bias() + self.apart if self.training else self.bias
        windows = windows + self.attn(self.norm1(windows), bias)
        windows = windows + self.mlp(self.norm2(windows))
        return self._from_windows(windows)

    def _to_windows(self, tokens_BHWD: torch.Tensor) -> torch.Tensor:
        if self.shift:
            tokens_BHWD = torch.roll(tokens_BHWD, (-self.shift, -self.shift), (1, 2))
        batch, width, count = len(tokens_BHWD), tokens_BHWD.shape[-1], self.side // self.window
        cut = tokens_BHWD.view(batch, count, self.window, count, self.window, width)
        return cut.transpose(2, 3).reshape(batch, count * count, self.window * self.window, width)

    def _from_windows(self, windows: torch.Tensor) -> torch.Tensor:
        batch, width, count = len(windows), windows.shape[-1], self.side // self.window
        cut = windows.view(batch, count, count, self.window, self.window, width).transpose(2, 3)
        tokens = cut.reshape(batch, self.side, self.side, width)
        return torch.roll(tokens, (self.shift, self.shift), (1, 2)) if self.shift else tokens

    def _apart(self) -> torch.Tensor:
        """(windows or 1, 1, tokens, tokens): 0 between neighbours, APART between strangers that the shift joined."""
        if not self.shift:
            return torch.zeros(1, 1, 1, 1)
        at = torch.arange(self.side)
        region = (at >= self.side - self.window).long() + (at >= self.side - self.shift).long()
        picture = (region[:, None] * 3 + region[None]).float()[None, :, :, None]
        shift, self.shift = self.shift, 0  # regions are those of the shifted picture: cut without another shift
        regions = self._to_windows(picture)[0, :, :, 0]
        self.shift = shift
        differ = regions[:, :, None] != regions[:, None, :]
        return torch.where(differ, APART, 0.0)[:, None]


class WindowAttention(nn.Module):
    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))

    def position_bias(self) -> torch.Tensor:
        """(1, heads, tokens, tokens): the table's row for each pair's distance in rows and columns."""
        at = torch.arange(self.window**2, device=self.relative_position_bias_table.device)
        row, column = at // self.window, at % self.window
        distance = (row[:, None] - row + self.window - 1) * (2 * self.window - 1)
        distance = distance + (column[:, None] - column + self.window - 1)
        return self.relative_position_bias_table[distance].permute(2, 0, 1)[None]

    def forward(self, windows: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        batch, count, tokens, width = windows.shape
        qkv = self.qkv(windows).view(batch * count, tokens, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        if len(bias) > 1:
            bias = bias.repeat(batch, 1, 1, 1)
        heard = fn.scaled_dot_product_attention(
            query, key, value, attn_mask=bias.to(query.dtype), scale=1 / math.sqrt(width // self.heads)
        )
        return torch.as_tensor(self.proj(heard.transpose(1, 2).reshape(batch, count, tokens, width)))


class Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.fc2(fn.gelu(self.fc1(tokens))))


class PatchMerging(nn.Module):
    """(B, H, W, D) -> (B, H/2, W/2, 2 D). Order of the four: row 0, row 1 of column 0, then of column 1."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, tokens_BHWD: torch.Tensor) -> torch.Tensor:
        batch, height, width, depth = tokens_BHWD.shape
        four = tokens_BHWD.view(batch, height // 2, 2, width // 2, 2, depth).permute(0, 1, 3, 4, 2, 5)
        return torch.as_tensor(self.reduction(self.norm(four.reshape(batch, height // 2, width // 2, 4 * depth))))
