"""The 1D-VAE: log-mel spectrograms to latents four times shorter, mel bands as channels (arXiv 2406.19388, section 5).

    posterior = vae.encode(mel_BFT)      # (B, 64, T) -> Gaussian over (B, 64, T / 4)
    mel_BFT = vae.decode(latent_BCT)

Parameters carry the published checkpoint's names. Latents here are (B, C, T); the reference keeps a width of 1 behind.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as fn

GROUPS = 32
NORM_EPS = 1e-6


@dataclass(frozen=True)
class VaeShape:
    """Widths; the defaults are the published 391.6 M model's. `width` * each of `multipliers` are the levels'."""

    mels: int = 64
    width: int = 512
    multipliers: tuple[int, ...] = (1, 2, 4)
    res_blocks: int = 3
    z_channels: int = 256
    latent_channels: int = 64

    @property
    def shortens(self) -> int:
        """Mel frames of one latent step."""
        return int(2 ** (len(self.multipliers) - 1))


@dataclass(frozen=True)
class Posterior:
    """A Gaussian for each latent number: (B, C, T) each."""

    mean: torch.Tensor
    logvar: torch.Tensor

    @property
    def std(self) -> torch.Tensor:
        return torch.exp(0.5 * self.logvar)

    def sample(self, noise: torch.Tensor | None = None) -> torch.Tensor:
        return self.mean + self.std * (torch.randn_like(self.mean) if noise is None else noise)

    def kl(self) -> torch.Tensor:
        """(B,), to the unit Gaussian, the mean over latent numbers (the reference's choice, not the sum)."""
        return 0.5 * (self.mean.square() + self.logvar.exp() - 1.0 - self.logvar).mean(dim=(1, 2))


def norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(GROUPS, channels, eps=NORM_EPS)


class Conv3(nn.Conv1d):
    """Three taps. One plain product where wide and short: oneDNN would reorder weights of 50 MB at each call."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__(before, after, 3, padding=1)

    def forward(self, x_BCT: torch.Tensor) -> torch.Tensor:
        clips, channels, steps = x_BCT.shape
        if x_BCT.device.type != "cpu" or torch.is_grad_enabled() or 8 * clips * steps > channels:
            return super().forward(x_BCT)
        windows_BCKT = fn.pad(x_BCT, (1, 1)).unfold(2, steps, 1)
        y_BOT = self.weight.view(-1, 3 * channels) @ windows_BCKT.reshape(clips, 3 * channels, steps)
        return y_BOT if self.bias is None else y_BOT.add_(self.bias[:, None])


class ResBlock(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = norm(before), Conv3(before, after)
        self.norm2, self.conv2 = norm(after), Conv3(after, after)
        self.nin_shortcut = nn.Conv1d(before, after, 1) if before != after else nn.Identity()

    def forward(self, x_BCT: torch.Tensor) -> torch.Tensor:
        inner = self.conv1(fn.silu(self.norm1(x_BCT)))
        inner = self.conv2(fn.silu(self.norm2(inner)))
        return self.nin_shortcut(x_BCT) + inner  # type: ignore[no-any-return]


class Attention(nn.Module):
    """One head over time."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = norm(channels)
        self.q, self.k, self.v, self.proj_out = (nn.Conv1d(channels, channels, 1) for _ in range(4))

    def forward(self, x_BCT: torch.Tensor) -> torch.Tensor:
        normed = self.norm(x_BCT)
        q, k, v = (part(normed).transpose(1, 2)[:, None] for part in (self.q, self.k, self.v))
        heard = fn.scaled_dot_product_attention(q, k, v)[:, 0].transpose(1, 2)
        return x_BCT + self.proj_out(heard)  # type: ignore[no-any-return]


class Middle(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block_1, self.attn_1, self.block_2 = (
            ResBlock(channels, channels),
            Attention(channels),
            ResBlock(channels, channels),
        )

    def forward(self, x_BCT: torch.Tensor) -> torch.Tensor:
        return self.block_2(self.attn_1(self.block_1(x_BCT)))  # type: ignore[no-any-return]


class Downsample(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x_BCT: torch.Tensor) -> torch.Tensor:
        return self.conv(x_BCT)  # type: ignore[no-any-return]


class Upsample(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = Conv3(channels, channels)

    def forward(self, x_BCT: torch.Tensor) -> torch.Tensor:
        return self.conv(fn.interpolate(x_BCT, scale_factor=2.0, mode="nearest"))  # type: ignore[no-any-return]


class Level(nn.Module):
    """Blocks of one width, and a change of rate behind them (none at the deepest, or topmost, level)."""

    def __init__(self, before: int, after: int, blocks: int, change: type[Downsample | Upsample] | None) -> None:
        super().__init__()
        self.block = nn.ModuleList(ResBlock(before if at == 0 else after, after) for at in range(blocks))
        if change is Downsample:
            self.downsample = Downsample(after)
        elif change is Upsample:
            self.upsample = Upsample(after)
        self._change = change

    def forward(self, x_BCT: torch.Tensor) -> torch.Tensor:
        for block in self.block:
            x_BCT = block(x_BCT)
        if self._change is None:
            return x_BCT
        return (self.downsample if self._change is Downsample else self.upsample)(x_BCT)  # type: ignore[no-any-return]


class Encoder(nn.Module):
    def __init__(self, shape: VaeShape) -> None:
        super().__init__()
        widths = [shape.width * times for times in shape.multipliers]
        self.conv_in = Conv3(shape.mels, shape.width)
        self.down = nn.ModuleList(
            Level(before, after, shape.res_blocks, Downsample if at < len(widths) - 1 else None)
            for at, (before, after) in enumerate(zip([shape.width, *widths], widths, strict=False))
        )
        self.mid = Middle(widths[-1])
        self.norm_out, self.conv_out = norm(widths[-1]), Conv3(widths[-1], 2 * shape.z_channels)

    def forward(self, mel_BFT: torch.Tensor) -> torch.Tensor:
        x_BCT = self.conv_in(mel_BFT)
        for level in self.down:
            x_BCT = level(x_BCT)
        return self.conv_out(fn.silu(self.norm_out(self.mid(x_BCT))))  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """Levels are numbered as the encoder's: the last in the list comes first."""

    def __init__(self, shape: VaeShape) -> None:
        super().__init__()
        widths = [shape.width * times for times in shape.multipliers]
        self.conv_in = Conv3(shape.z_channels, widths[-1])
        self.mid = Middle(widths[-1])
        above = [*widths[1:], widths[-1]]
        self.up = nn.ModuleList(
            Level(above[at], width, shape.res_blocks + 1, Upsample if at > 0 else None)
            for at, width in enumerate(widths)
        )
        self.norm_out, self.conv_out = norm(widths[0]), Conv3(widths[0], shape.mels)

    def forward(self, z_BCT: torch.Tensor) -> torch.Tensor:
        x_BCT = self.mid(self.conv_in(z_BCT))
        for level in reversed(self.up):
            x_BCT = level(x_BCT)
        return self.conv_out(fn.silu(self.norm_out(x_BCT)))  # type: ignore[no-any-return]


class Vae(nn.Module):
    """Mel spectrograms (B, F, T), T a multiple of `shape.shortens`, to latents (B, C, T / shortens) and back."""

    def __init__(self, shape: VaeShape | None = None) -> None:
        super().__init__()
        self.shape = shape or VaeShape()
        self.encoder, self.decoder = Encoder(self.shape), Decoder(self.shape)
        self.quant_conv = nn.Conv1d(2 * self.shape.z_channels, 2 * self.shape.latent_channels, 1)
        self.post_quant_conv = nn.Conv1d(self.shape.latent_channels, self.shape.z_channels, 1)

    def encode(self, mel_BFT: torch.Tensor) -> Posterior:
        mean, logvar = self.quant_conv(self.encoder(mel_BFT)).chunk(2, dim=1)
        return Posterior(mean, logvar.clamp(-30.0, 20.0))

    def decode(self, latent_BCT: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.post_quant_conv(latent_BCT))  # type: ignore[no-any-return]


def shape_of(state: dict[str, torch.Tensor]) -> VaeShape:
    """The sizes of a VAE from its tensors. KeyError names what is missing."""
    conv_in = state["encoder.conv_in.weight"]
    levels = 1 + max(int(name.split(".")[2]) for name in state if name.startswith("encoder.down."))
    blocks = 1 + max(int(name.split(".")[4]) for name in state if name.startswith("encoder.down.0.block."))
    width = int(conv_in.shape[0])
    tops = [int(state[f"encoder.down.{level}.block.0.conv1.weight"].shape[0]) for level in range(levels)]
    return VaeShape(
        mels=int(conv_in.shape[1]),
        width=width,
        multipliers=tuple(top // width for top in tops),
        res_blocks=blocks,
        z_channels=int(state["post_quant_conv.weight"].shape[0]),
        latent_channels=int(state["post_quant_conv.weight"].shape[1]),
    )
