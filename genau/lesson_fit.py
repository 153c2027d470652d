"""Stage 2: what the denoiser learns. Latents get noise of a random step, FIT says which noise it was.

    lesson = FitLesson(net, recipe, codec=codec, text=text, ids=ids, held_out=lambda: batches)
    Training(lesson, data, plan, out, crew).run()

A clip is a latent's Gaussian, drawn anew each time, with the vector of its caption and the number of its data set. Some
clips lose their condition, each by itself, so that guidance has something to lead away from; some get the latent tokens
of a first pass, as the sampler will hand them from step to step. docs/genau.md names the switches that do these as the
reference does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn

from genau.codec import Codec
from genau.ddim import ddim, ddim_steps, ddim_times
from genau.diffusion import Schedule, losses
from genau.fit import Fit
from genau.flops import flops
from genau.mel import SAMPLE_RATE_HZ, levelled
from genau.picture import picture
from genau.recipe import FitRecipe
from generation.conditioners.base import Conditioner
from generation.conditioners.by_ear import told
from generation.conditioners.datasets import DatasetIds
from generation.conditioners.drop import dropped, without
from generation.data_samples import Clips
from generation.data_waves import WaveBatch
from generation.latents import LatentBatch
from training.crew import Crew
from training.lesson import Lesson, Loss, Ready, Sound, Turn, Validation

#: Validation looks at the middle of so many equal ranges of noise.
RANGES = 10
TURN = "denoise"
#: What FIT has besides its own tensors while it is trained.
SCALE = "scale_factor"


@dataclass(frozen=True)
class FitInputs:
    """Clips on the device. Latents are not scaled yet."""

    mean: torch.Tensor  # (B, C, T)
    std: torch.Tensor
    text: torch.Tensor  # (B, E)
    dataset: torch.Tensor  # (B, D), one-hot

    def __len__(self) -> int:
        return len(self.mean)


class FitLesson(Lesson[Clips, FitInputs]):
    """`held_out`: this worker's batches for validation, the same each time; none: no validation."""

    net: Fit

    def __init__(
        self,
        net: Fit,
        recipe: FitRecipe,
        *,
        codec: Codec | None,
        text: Conditioner,
        ids: DatasetIds,
        held_out: Callable[[], Iterable[Clips]] | None = None,
        card: Callable[[int, float], dict[str, Any]] | None = None,
        scale: float | None = None,
    ) -> None:
        super().__init__()
        self.net, self.recipe, self.codec, self.ids = net, recipe, codec, ids
        self._text, self.held_out, self._card = text, held_out, card
        diffusion = recipe.diffusion
        self.schedule = Schedule(diffusion.steps, diffusion.first_beta, diffusion.last_beta)
        self.turns = (Turn(TURN, recipe.optimizer, recipe.schedule),)
        self.net.self_conditioning_latents_projection.requires_grad_(diffusion.self_conditioning > 0)
        known = scale if scale is not None else diffusion.scale_factor
        self._measure_scale = known == "first_batch"
        self.net.register_buffer(SCALE, torch.tensor(1.0 if isinstance(known, str) else float(known)))
        self.register_buffer("none_E", torch.from_numpy(text.embed([""])[0]), persistent=False)
        self.flops_per_clip = 3.0 * flops(net.shape)

    # -- a batch

    @torch.no_grad()
    def ready(self, clips: Clips, device: torch.device) -> Ready[FitInputs]:
        if isinstance(clips, LatentBatch):
            (mean, std), text = clips.gaussians(device), clips.text.float()
        elif isinstance(clips, WaveBatch) and self.codec is not None:
            posterior = self.codec.encode(clips.waves.to(device))
            mean, std = posterior.mean.float(), posterior.std.float()
            text = torch.from_numpy(self._told(clips))
        else:
            raise TypeError(f"a {type(clips).__name__} cannot be learned from without a VAE")
        dataset = self.ids.one_hot(self.ids.of(clips.datasets))
        inputs = FitInputs(mean.to(device), std.to(device), text.to(device), dataset.to(device))
        return Ready(inputs, weight=len(inputs))

    def _told(self, clips: WaveBatch) -> np.ndarray:
        return told(self._text, clips.captions, clips.waves.numpy(), clips.by_ear.numpy(), SAMPLE_RATE_HZ)

    def begin(self, inputs: FitInputs, crew: Crew) -> None:
        """One over the deviation of all workers' first latents."""
        if not self._measure_scale:
            return
        drawn = (inputs.mean + inputs.std * torch.randn_like(inputs.std)).double()
        count, total, squares = crew.summed(drawn.numel(), float(drawn.sum()), float(drawn.square().sum()))
        variance = (squares - total**2 / count) / (count - 1)
        self._scale.fill_(variance**-0.5)

    @property
    def _scale(self) -> torch.Tensor:
        return self.net.get_buffer(SCALE)

    # -- the loss

    def loss(self, turn: str, inputs: FitInputs, step: int) -> Loss:
        del turn, step
        clean = (inputs.mean + inputs.std * torch.randn_like(inputs.std)) * self._scale
        noise = torch.randn_like(clean)
        t_B = torch.randint(0, self.schedule.steps, (len(inputs),), device=clean.device)
        x_BCT = self.schedule.noised(clean, noise, t_B)
        text_BE, dataset_BD = self._condition(inputs)
        handed = self._handed(x_BCT, t_B, text_BE, dataset_BD)
        said, _ = self.net(x_BCT, t_B, text_BE, dataset_BD, *handed)
        target = self.schedule.target(self.recipe.diffusion.prediction, clean, noise, t_B)
        return Loss(losses(said, target).sum())

    def _condition(self, inputs: FitInputs) -> tuple[torch.Tensor, torch.Tensor]:
        """Text and data set, or what "neither" looks like for the clips that lose theirs."""
        how = self.recipe.diffusion
        lost_B = dropped(len(inputs), how.drop_condition, torch.default_generator, how.drop_per)
        none_D = self.ids.one_hot(torch.tensor([self.ids.none]))[0]
        text_BE = without(inputs.text, self.get_buffer("none_E"), lost_B)
        return text_BE, without(inputs.dataset, none_D, lost_B)

    def _handed(
        self, x_BCT: torch.Tensor, t_B: torch.Tensor, text_BE: torch.Tensor, dataset_BD: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor] | tuple[()]:
        """Latent tokens of a first pass for a fixed share of the clips, the first of the batch; none for the others."""
        share, clips = self.recipe.diffusion.self_conditioning, len(x_BCT)
        if share == 0:
            return ()
        shape = self.net.shape
        count = int(share * clips + float(torch.rand(())))
        latents_BMC = x_BCT.new_zeros(clips, shape.latents, shape.latent_width)
        heard = max(1, count)  # workers that share the net's tensors must all make this pass
        with torch.no_grad():
            _, first = self.net(x_BCT[:heard], t_B[:heard], text_BE[:heard], dataset_BD[:heard])
        latents_BMC[:heard] = first.to(latents_BMC.dtype)
        return latents_BMC, (torch.arange(clips, device=x_BCT.device) < count).to(x_BCT.dtype)

    # -- how the loop treats the net

    def blocks(self) -> Sequence[nn.Module]:
        return list(self.net.blocks)

    def published(self, name: str) -> str | None:
        return None if name == SCALE else name

    def card(self, step: int) -> dict[str, Any]:
        return {} if self._card is None else self._card(step, float(self._scale))

    # -- validation

    @torch.no_grad()
    def validate(self, step: int, crew: Crew) -> Validation | None:
        if self.held_out is None:
            return None
        measures = self.measure(self.held_out(), crew)
        seen = Validation(measures)
        if self.recipe.validation.prompts and self.codec is not None:
            self._sounds(seen, crew)
        return seen

    @torch.no_grad()
    def measure(self, batches: Iterable[Clips], crew: Crew) -> dict[str, float]:
        """The mean loss over held-out clips at fixed noise and at fixed steps, all in all and by range of steps."""
        sums = [0.0] * RANGES
        clips = 0
        for at, batch in enumerate(batches):
            inputs = self.ready(batch, crew.device).inputs
            noise = _fixed_noise(inputs.mean, self.recipe.seed + 7919 * (at * crew.world + crew.rank))
            clean = inputs.mean * self._scale
            for number, t in enumerate(self._middles()):
                t_B = torch.full((len(inputs),), t, device=clean.device)
                said, _ = self.net(self.schedule.noised(clean, noise, t_B), t_B, inputs.text, inputs.dataset)
                target = self.schedule.target(self.recipe.diffusion.prediction, clean, noise, t_B)
                sums[number] += float(losses(said, target).sum())
            clips += len(inputs)
        *totals, count = crew.summed(*sums, clips)
        means = [total / max(count, 1) for total in totals]
        return {"loss": sum(means) / RANGES} | dict(zip(self._names(), means, strict=True))

    def _middles(self) -> Iterator[int]:
        return (int((number + 0.5) * self.schedule.steps / RANGES) for number in range(RANGES))

    def _names(self) -> list[str]:
        edges = [number * self.schedule.steps // RANGES for number in range(RANGES + 1)]
        return [f"loss_t{first:03d}-{last - 1:03d}" for first, last in pairwise(edges)]

    def _sounds(self, seen: Validation, crew: Crew) -> None:
        """A sound and its spectrogram for each prompt. All workers sample: a net in parts needs them all."""
        assert self.codec is not None
        prompts = self.recipe.validation.prompts
        latents = self._sampled(prompts, crew.device)
        if not crew.leads:
            return
        mels = self.codec.decode(latents / self._scale)
        waves = self.codec.to_wave(latents / self._scale)
        for prompt, mel, wave in zip(prompts, mels, waves, strict=True):
            seen.images[prompt] = picture(mel.float().cpu().numpy())
            seen.sounds[prompt] = Sound(levelled(wave.float().cpu().numpy()), self.codec.sample_rate_hz)

    def _sampled(self, prompts: Sequence[str], device: torch.device) -> torch.Tensor:
        how, shape = self.recipe.validation, self.net.shape
        text = torch.from_numpy(self._text.embed(prompts)).to(device)
        texts = torch.cat([text, self.get_buffer("none_E").expand_as(text)])
        none_BD = self.ids.one_hot(self.ids.of([None] * (2 * len(prompts)))).to(device)

        def denoise(x_BCT: torch.Tensor, t_B: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
            said, latents = self.net(x_BCT.repeat(2, 1, 1), t_B.repeat(2), texts, none_BD, state)
            with_text, without_text = said.float().chunk(2)
            guided = without_text + how.guidance * (with_text - without_text)
            kept = latents if self.recipe.diffusion.self_conditioning > 0 else None
            return self.schedule.noise_told(self.recipe.diffusion.prediction, guided, x_BCT, t_B), kept

        size = torch.empty(len(prompts), shape.channels, shape.steps, device=device)
        steps = ddim_steps(self.schedule, ddim_times(how.steps, self.schedule.steps))
        return ddim(denoise, _fixed_noise(size, self.recipe.seed), steps)


def _fixed_noise(like_BCT: torch.Tensor, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(like_BCT.shape, generator=generator).to(like_BCT.device)
