"""What the VAE learns from: reconstruction, perception (LPIPS), a small KL, and a discriminator that sees patches.

    losses = VaeLosses(perceptual=True)
    generator = losses.generator(mel_BFT, again_BFT, posterior.kl(), vae.decoder.conv_out.weight, step=step)
    discriminator = losses.discriminator_terms(mel_BFT, again_BFT, step=step)

After Esser et al. 2021 (VQGAN), as the reference trains with it. A spectrogram is an image of one channel, time
downwards. Parameters carry the published checkpoint's names, which has them under `loss.`. The published weights of
LPIPS (VGG16 and five linear layers) come from a local file or are left out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as fn

from scorer.torch_file import read_state
from scorer.weights import WeightsError

#: VGG16's convolutions before each of the five layers that LPIPS compares, by their number in torchvision's list.
VGG_SLICES = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
VGG_WIDTHS = (64, 128, 256, 512, 512)
#: Where published files keep LPIPS, the VAE's own among them.
PREFIXES = ("first_stage_model.loss.perceptual_loss.", "loss.perceptual_loss.", "perceptual_loss.", "")
MAX_WEIGHT = 1e4
TINY = 1e-10


class Scaling(nn.Module):
    """ImageNet's mean and deviation, as LPIPS shifts images from [-1, 1]; one channel becomes three."""

    shift: torch.Tensor
    scale: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1))

    def forward(self, x_B1TF: torch.Tensor) -> torch.Tensor:
        return (x_B1TF - self.shift) / self.scale


class Vgg(nn.Module):
    """VGG16's features in five slices; modules keep torchvision's numbers."""

    def __init__(self) -> None:
        super().__init__()
        before = 3
        for at, (numbers, width) in enumerate(zip(VGG_SLICES, VGG_WIDTHS, strict=True), start=1):
            layers: dict[str, nn.Module] = {"pool": nn.MaxPool2d(2)} if at > 1 else {}
            for number in numbers:
                layers[str(number)] = nn.Conv2d(before, width, 3, padding=1)
                layers[str(number + 1)] = nn.ReLU()
                before = width
            self.add_module(f"slice{at}", nn.Sequential(OrderedDict(layers)))

    def forward(self, x_B3TF: torch.Tensor) -> list[torch.Tensor]:
        found = []
        for part in self.children():
            x_B3TF = part(x_B3TF)
            found.append(x_B3TF)
        return found


class Readout(nn.Module):
    """How much each channel's difference counts; dropout while it was fitted, hence the number in its name."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Dropout(), nn.Conv2d(width, 1, 1, bias=False))

    def forward(self, x_BCTF: torch.Tensor) -> torch.Tensor:
        return self.model[1](x_BCTF)  # type: ignore[no-any-return]


class Lpips(nn.Module):
    """(B, 1, T, F) twice -> (B,), how different both look to VGG16 (Zhang et al. 2018). Never learns."""

    def __init__(self) -> None:
        super().__init__()
        self.scaling_layer, self.net = Scaling(), Vgg()
        for at, width in enumerate(VGG_WIDTHS):
            self.add_module(f"lin{at}", Readout(width))
        self.requires_grad_(False)

    def forward(self, a_B1TF: torch.Tensor, b_B1TF: torch.Tensor) -> torch.Tensor:
        seen = zip(self.net(self.scaling_layer(a_B1TF)), self.net(self.scaling_layer(b_B1TF)), strict=True)
        apart = [
            getattr(self, f"lin{at}")((_unit(a) - _unit(b)).square()).mean(dim=(1, 2, 3))
            for at, (a, b) in enumerate(seen)
        ]
        return torch.stack(apart).sum(dim=0)


def _unit(x_BCTF: torch.Tensor) -> torch.Tensor:
    return x_BCTF / (x_BCTF.square().sum(dim=1, keepdim=True).sqrt() + TINY)


def read_lpips(files: Iterable[Path]) -> Lpips:
    """LPIPS out of local files: a published VAE's checkpoint, or torchvision's VGG16 and lpips' `vgg.pth`.

    WeightsError says which tensors none of the files has.
    """
    files = list(files)
    held: dict[str, torch.Tensor] = {}
    for file in files:
        held |= read_state(file)[0]
    with torch.device("meta"):
        net = Lpips()
    found: dict[str, torch.Tensor] = {f"scaling_layer.{k}": v for k, v in Scaling().state_dict().items()}
    missing = []
    for name, own in net.state_dict().items():
        value = next((held[key] for key in _keys(name) if key in held), None)
        if value is not None and value.shape == own.shape:
            found[name] = value.float()
        elif name not in found:
            missing.append(name)
    if missing:
        where = ", ".join(map(str, files))
        raise WeightsError(
            f"{where}: no tensors of LPIPS's shapes for {', '.join(missing[:4])} ({len(missing)} in all)"
        )
    net.load_state_dict(found, assign=True)
    return net.eval().requires_grad_(False)


def _keys(name: str) -> list[str]:
    number_and_kind = name.split(".", 2)[-1]
    elsewhere = [f"features.{number_and_kind}"] if name.startswith("net.") else []
    return [f"{prefix}{name}" for prefix in PREFIXES] + elsewhere


class Discriminator(nn.Module):
    """(B, 1, T, F) -> (B, 1, T / 8 - 2, F / 8 - 2): for each patch, above 0 for a true one (PatchGAN, three layers)."""

    def __init__(self, width: int = 64, layers: int = 3) -> None:
        super().__init__()
        widths = [width * min(2**at, 8) for at in range(layers + 1)]
        parts: list[nn.Module] = [nn.Conv2d(1, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for at, (before, after) in enumerate(pairwise(widths), start=1):
            stride = 2 if at < layers else 1
            parts += [
                nn.Conv2d(before, after, 4, stride=stride, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.LeakyReLU(0.2),
            ]
        self.main = nn.Sequential(*parts, nn.Conv2d(widths[-1], 1, 4, padding=1))
        for part in self.main:
            if isinstance(part, nn.Conv2d):
                nn.init.normal_(part.weight, 0.0, 0.02)
            elif isinstance(part, nn.BatchNorm2d):
                nn.init.normal_(part.weight, 1.0, 0.02)

    def forward(self, x_B1TF: torch.Tensor) -> torch.Tensor:
        return self.main(x_B1TF)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class LossWeights:
    """The paper's numbers. `disc_start`: optimiser steps, of both nets together, before the discriminator counts."""

    kl: float = 1000.0
    perceptual: float = 1.0
    disc: float = 0.5
    disc_start: int = 20_001
    r1: float = 0.0


@dataclass(frozen=True)
class Terms:
    """`total` is what a turn's gradients come from; `parts` are numbers to be told. Means over the batch."""

    total: torch.Tensor
    parts: dict[str, torch.Tensor]


class VaeLosses(nn.Module):
    """Both sides of the training. `logvar` is a number that the reference never trains: 0."""

    def __init__(self, weights: LossWeights | None = None, perceptual: Lpips | None = None) -> None:
        super().__init__()
        self.weights = weights or LossWeights()
        self.logvar = nn.Parameter(torch.zeros(()), requires_grad=False)
        self.perceptual_loss = perceptual
        self.discriminator = Discriminator()

    def generator(
        self, mel_BFT: torch.Tensor, again_BFT: torch.Tensor, kl_B: torch.Tensor, last: torch.Tensor, *, step: int
    ) -> Terms:
        """What encoder and decoder learn from. `last`: the decoder's last weight, where both gradients are compared."""
        mel, again = image(mel_BFT), image(again_BFT)
        error = (mel - again).abs()
        if self.perceptual_loss is not None:
            error = error + self.weights.perceptual * self.perceptual_loss(mel, again).view(-1, 1, 1, 1)
        nll = (error / self.logvar.exp() + self.logvar).flatten(1).sum(dim=1).mean()
        kl, factor = kl_B.mean(), self.factor(step)
        parts = {"rec": error.mean(), "nll": nll, "kl": kl}
        total = nll + self.weights.kl * kl
        if factor > 0:
            fooled = -self.discriminator(again).mean()
            weight = self.weights.disc * adaptive_weight(nll, fooled, last)
            parts |= {"g": fooled, "d_weight": weight}
            total = total + weight * factor * fooled
        return Terms(total, {name: value.detach() for name, value in parts.items()})

    def discriminator_terms(self, mel_BFT: torch.Tensor, again_BFT: torch.Tensor, *, step: int) -> Terms:
        """What the discriminator learns from: hinges around -1 and 1, and R1 on true ones if it is asked for."""
        mel, again = image(mel_BFT).detach(), image(again_BFT).detach()
        mel.requires_grad_(self.weights.r1 > 0)
        real, fake = self.discriminator(mel), self.discriminator(again)
        total = self.factor(step) * hinge(real, fake)
        if self.weights.r1 > 0:
            total = total + self.factor(step) * self.weights.r1 / 2 * gradient_penalty(real, mel)
        parts = {"disc": total, "logits_real": real.mean(), "logits_fake": fake.mean()}
        return Terms(total, {name: value.detach() for name, value in parts.items()})

    def factor(self, step: int) -> float:
        return float(step >= self.weights.disc_start)


def image(mel_BFT: torch.Tensor) -> torch.Tensor:
    """(B, F, T) -> (B, 1, T, F), as the published weights look at spectrograms."""
    return mel_BFT.transpose(1, 2)[:, None]


def hinge(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    return 0.5 * (fn.relu(1 - real).mean() + fn.relu(1 + fake).mean())


def adaptive_weight(nll: torch.Tensor, fooled: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
    """How much stronger reconstruction pulls at the last layer than the discriminator does; 1e4 at most."""
    (of_nll,) = torch.autograd.grad(nll, last, retain_graph=True)
    (of_fooled,) = torch.autograd.grad(fooled, last, retain_graph=True)
    ratio: torch.Tensor = of_nll.norm() / (of_fooled.norm() + 1e-4)
    return ratio.clamp(0.0, MAX_WEIGHT).detach()


def gradient_penalty(real: torch.Tensor, mel_B1TF: torch.Tensor) -> torch.Tensor:
    """R1 (Mescheder et al. 2018): the mean square length of the logits' gradient at true spectrograms."""
    (gradient,) = torch.autograd.grad(real.sum(), mel_B1TF, create_graph=True)
    steepness: torch.Tensor = gradient.flatten(1).square().sum(dim=1)
    return steepness.mean()
