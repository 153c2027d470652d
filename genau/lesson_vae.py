"""Stage 1: what the VAE and its discriminator learn, in turns on the same clips.

    lesson = VaeLesson(VaeNet(vae, losses.discriminator), losses, recipe, codec)

The discriminator tells spectrograms from their reconstructions; then encoder and decoder learn to reconstruct, to keep
the latents near the unit Gaussian, and to pass for true. The published file has the VAE alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from genau.codec import Codec
from genau.mel import levelled
from genau.picture import picture
from genau.recipe import VaeRecipe
from genau.vae import Vae
from genau.vae_losses import Discriminator, Terms, VaeLosses
from generation.data_samples import Clips
from generation.data_waves import WaveBatch
from training.crew import Crew
from training.lesson import Lesson, Loss, Ready, Sound, Turn, Validation

JUDGE, MAKE = "discriminator", "vae"
#: Held-out clips that are listened to.
HEARD = 4


@dataclass(frozen=True)
class VaeInputs:
    mel: torch.Tensor  # (B, F, T)


class VaeNet(nn.Module):
    """Both sides, as the checkpoint keeps them."""

    def __init__(self, vae: Vae, discriminator: Discriminator) -> None:
        super().__init__()
        self.vae, self.discriminator = vae, discriminator

    def forward(self, mel_BFT: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The reconstruction (B, F, T) of a drawn latent, and each clip's KL (B,), in float32."""
        posterior = self.vae.encode(mel_BFT)
        return self.vae.decode(posterior.sample()).float(), posterior.kl().float()


class VaeLesson(Lesson[Clips, VaeInputs]):
    """`codec` holds the same VAE: it hears waves, and for validation it makes some."""

    net: VaeNet

    def __init__(
        self,
        net: VaeNet,
        losses: VaeLosses,
        recipe: VaeRecipe,
        codec: Codec,
        held_out: Callable[[], Iterable[Clips]] | None = None,
        card: Callable[[int], dict[str, Any]] | None = None,
    ) -> None:
        super().__init__()
        self.net, self.losses, self.recipe, self.codec = net, losses, recipe, codec
        self._held_out, self._card = held_out, card
        self.turns = (
            Turn(JUDGE, recipe.optimizer, recipe.schedule, learns=("discriminator.*",)),
            Turn(MAKE, recipe.optimizer, recipe.schedule, learns=("vae.*",)),
        )

    @torch.no_grad()
    def ready(self, clips: Clips, device: torch.device) -> Ready[VaeInputs]:
        if not isinstance(clips, WaveBatch):
            raise TypeError(f"a VAE learns from waves, not from a {type(clips).__name__}")
        mel = self.codec.mel(clips.waves.to(device))
        return Ready(VaeInputs(mel), weight=len(mel))

    def loss(self, turn: str, inputs: VaeInputs, step: int) -> Loss:
        """`step` of the loop is two optimiser steps: that is what the recipe counts until the discriminator counts."""
        if turn == JUDGE:
            with torch.no_grad():
                again, _ = self.net(inputs.mel)
            return _summed(self.losses.discriminator_terms(inputs.mel, again, step=2 * step), inputs)
        again, kl_B = self.net(inputs.mel)
        last = self.net.vae.decoder.conv_out.weight
        return _summed(self.losses.generator(inputs.mel, again, kl_B, last, step=2 * step + 1), inputs)

    def blocks(self) -> Sequence[nn.Module]:
        return [*self.net.vae.encoder.down, *self.net.vae.decoder.up]

    def published(self, name: str) -> str | None:
        return name.removeprefix("vae.") if name.startswith("vae.") else None

    def card(self, step: int) -> dict[str, Any]:
        return {} if self._card is None else self._card(step)

    @torch.no_grad()
    def validate(self, step: int, crew: Crew) -> Validation | None:
        """Error and KL of held-out clips by their means, and the first of them to hear and to see."""
        if self._held_out is None:
            return None
        sums, seen = [0.0, 0.0, 0.0], Validation({})
        for batch in self._held_out():
            mel = self.ready(batch, crew.device).inputs.mel
            posterior = self.net.vae.encode(mel)
            again = self.net.vae.decode(posterior.mean).float()
            sums[0] += float((again - mel).abs().mean(dim=(1, 2)).sum())
            sums[1] += float(posterior.kl().float().sum())
            sums[2] += len(mel)
            if crew.leads and len(seen.sounds) < HEARD:
                self._show(seen, batch.captions, mel, again)
        error, kl, clips = crew.summed(*sums)
        seen.measures.update(absolute_error_nats=error / max(clips, 1), kl=kl / max(clips, 1))
        return seen

    def _show(self, seen: Validation, captions: Sequence[str], mel: torch.Tensor, again: torch.Tensor) -> None:
        room = HEARD - len(seen.sounds)
        waves = self.codec.vocoder(again[:room])
        for caption, true, made, wave in zip(captions, mel, again, waves, strict=False):
            both = torch.cat([made, true.float()])  # the reconstruction above, what it is of below
            seen.images[caption] = picture(both.cpu().numpy())
            seen.sounds[caption] = Sound(levelled(wave.float().cpu().numpy()), self.codec.sample_rate_hz)


def _summed(terms: Terms, inputs: VaeInputs) -> Loss:
    """The terms are means over the batch; the loop wants sums."""
    clips = len(inputs.mel)
    return Loss(clips * terms.total, {name: clips * value for name, value in terms.parts.items()})
