"""A training's lesson and data, put together as its recipe says: nets from nothing or from a checkpoint, VAE, encoders.

lesson, data = fit_training(recipe, cache_dir=out / "captions")
Training(lesson, data, Plan(recipe.name, recipe.seed, recipe.loop, recipe.keep), out, crew(...)).run()
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from genau.card import GRIFFIN_LIM, ConditionerCard, GenauCard, ScheduleCard, VaeCard, VaeRef
from genau.checkpoint import build_vae, read_fit, read_vae
from genau.codec import Codec, folder_of, load_codec, load_vocoder
from genau.encode_folder import refuse_other_models, refuse_unheard
from genau.fit import Fit
from genau.lesson_fit import FitLesson
from genau.lesson_vae import VaeLesson, VaeNet
from genau.linear_vae import LinearVaeShape
from genau.mel import CLIP_SAMPLES, FRAMES, SAMPLE_RATE_HZ, levelled
from genau.recipe import FitRecipe, TextSettings, VaeRecipe
from genau.vae import Vae, VaeShape
from genau.vae_losses import LossWeights, VaeLosses, read_lpips
from generation.conditioners.base import Conditioner, ConditionerError, Joined
from generation.conditioners.cache import Cached
from generation.conditioners.datasets import DatasetIds
from generation.conditioners.load import load_conditioner
from generation.data import Feed, find_corpora, held_out
from generation.data_recipe import Corpus, Data
from generation.data_samples import Clips, Kind
from generation.data_waves import Waves
from generation.latents import Latents
from scorer.weights import WeightsError
from training.crew import Crew
from training.errors import TrainError


def fit_training(recipe: FitRecipe, cache_dir: Path, crew: Crew) -> tuple[FitLesson, Feed]:
    """Stage 2. TrainError and WeightsError say what cannot be had."""
    torch.manual_seed(recipe.seed)
    device = str(crew.device)
    text = _text(recipe, cache_dir, device)
    hears = recipe.data.kind == "waves"
    codec = load_codec(recipe.vae, recipe.vocoder) if hears or recipe.validation.prompts else None
    shape, vae, vocoder = _vae(recipe, codec)
    net, scale = _fit(recipe, shape, text.width)
    ids = _ids(recipe, net)
    kind: Kind
    if hears:
        kind = replace(_waves(recipe.data), audio_share=recipe.text.audio_share)
    else:
        _check_latents(recipe, vae, text)
        kind = Latents(
            net.shape.channels, net.shape.steps, text.width, recipe.data.filters, recipe.text.audio_share,
            tuple(text.hears),
        )  # fmt: skip
    lesson = FitLesson(
        net, recipe, codec=codec, text=text, ids=ids, scale=scale,
        held_out=_held_out(recipe, kind, crew),
        card=lambda step, found: _card(recipe, net, (vae, vocoder), text, step, found),
    )  # fmt: skip
    return lesson, _feed(recipe, kind)


def vae_training(recipe: VaeRecipe, crew: Crew) -> tuple[VaeLesson, Feed]:
    """Stage 1."""
    torch.manual_seed(recipe.seed)
    vae = Vae(recipe.net.shape()) if recipe.start.checkpoint is None else _to_go_on_with(recipe.start.checkpoint)
    how = recipe.loss
    weights = LossWeights(how.kl, how.perceptual, how.discriminator, how.discriminator_from, how.r1)
    perceptual = read_lpips(map(Path, how.perceptual_files)) if how.perceptual_files else None
    losses = VaeLosses(weights, perceptual)
    codec = Codec(vae, load_vocoder(recipe.vocoder))
    vae.train().requires_grad_(True)
    kind = _waves(recipe.data)
    lesson = VaeLesson(
        VaeNet(vae, losses.discriminator), losses, recipe, codec, _held_out(recipe, kind, crew),
        card=lambda step: VaeCard.model_validate(
            {"model_id": recipe.name, "shape": vae.shape, "step": step, "recipe": recipe.decisive()}
        ).model_dump(mode="json"),
    )  # fmt: skip
    return lesson, _feed(recipe, kind)


def _to_go_on_with(place: str) -> Vae:
    vae = build_vae(read_vae(folder_of(place)).state, place)
    if not isinstance(vae, Vae):
        raise TrainError(f"start.checkpoint: {place} is a linear VAE, which no training improves: leave it out")
    return vae


def _waves(data: Data) -> Waves:
    return Waves(SAMPLE_RATE_HZ, CLIP_SAMPLES, levelled, data.filters, data.mix)


def _feed(recipe: FitRecipe | VaeRecipe, kind: Kind) -> Feed:
    corpora = find_corpora(recipe.data)
    return Feed(corpora, recipe.data, kind, batch_clips=recipe.batch_clips, seed=recipe.seed)


def _text(recipe: FitRecipe, cache_dir: Path, device: str) -> Conditioner:
    how = recipe.text
    try:
        made = load_conditioner(how.encoders, device, pooling=how.t5_pooling, clap_tokenizer=how.clap_tokenizer)
    except ConditionerError as error:
        raise TrainError(f"text.encoders: {error}") from error
    if how.audio_share > 0 and made.hears.size == 0:
        raise TrainError(f"text.audio_share: {made.name} only reads; name a CLAP among text.encoders, or set it to 0")
    return Cached(made, Path(how.cache_dir) if how.cache_dir else cache_dir, how.cache_mb)


def _check_latents(recipe: FitRecipe, vae: VaeRef, text: Conditioner) -> None:
    """TrainError where what is to be learned from was made otherwise."""
    places = [place for corpus in recipe.data.corpora for place in corpus.shards]
    refuse_other_models(places, vae_sha256=vae.weights_sha256, text_sha256=text.weights_sha256)
    if recipe.text.audio_share > 0:
        refuse_unheard(places)


def _vae(recipe: FitRecipe, codec: Codec | None) -> tuple[VaeShape | LinearVaeShape, VaeRef, str]:
    """Of the recipe's VAE, whether it is run here or has made the latents: sizes, which one it is, its vocoder."""
    if codec is not None:
        return codec.shape, VaeRef(model=recipe.vae, weights_sha256=codec.weights_sha256), codec.vocoder_name
    found = read_vae(folder_of(recipe.vae))
    vocoder = recipe.vocoder or (recipe.vae if found.vocoder else GRIFFIN_LIM)
    which = VaeRef(model=recipe.vae, weights_sha256=found.weights_sha256)
    return build_vae(found.state, recipe.vae).shape, which, vocoder


def _fit(recipe: FitRecipe, vae: VaeShape | LinearVaeShape, text_width: int) -> tuple[Fit, float | None]:
    """The net, and the latents' scale where a checkpoint says it."""
    steps = FRAMES // vae.shortens
    if recipe.start.checkpoint is None:
        try:
            return Fit(recipe.net.shape(channels=vae.latent_channels, steps=steps, text_width=text_width)), None
        except ValueError as error:
            raise TrainError(f"net: {error}") from error
    place = recipe.start.checkpoint
    found = read_fit(Path(place), config=None if recipe.start.config is None else Path(recipe.start.config))
    shape = found.card.shape
    wanted = {"channels": vae.latent_channels, "steps": steps, "text_width": text_width}
    other = [
        f"{name} {getattr(shape, name)}, here {value}"
        for name, value in wanted.items()
        if getattr(shape, name) != value
    ]
    if other:
        raise TrainError(
            f"start.checkpoint: {place} was made for another VAE or other text encoders: {', '.join(other)}"
        )
    if found.card.prediction != recipe.diffusion.prediction:
        raise TrainError(f"start.checkpoint: {place} says the {found.card.prediction}: set diffusion.prediction to it")
    dropout = recipe.net.dropout
    net = Fit(shape if dropout is None else replace(shape, dropout=dropout))
    _load(net, found.state, place)
    return net, found.card.scale_factor


def _load(net: nn.Module, state: Mapping[str, torch.Tensor], place: str) -> None:
    try:
        net.load_state_dict(dict(state))
    except RuntimeError as error:
        raise WeightsError(f"{place} does not fit: {error}") from error


def _ids(recipe: FitRecipe, net: Fit) -> DatasetIds:
    try:
        ids = DatasetIds(recipe.datasets, net.shape.datasets, recipe.unconditional_id)
        ids.of([corpus.dataset for corpus in recipe.data.corpora])
    except ConditionerError as error:
        raise TrainError(f"datasets: {error}") from error
    return ids


def _held_out(recipe: FitRecipe | VaeRecipe, kind: Kind, crew: Crew) -> Callable[[], Iterator[Clips]] | None:
    how = recipe.validation
    if not how.corpora:
        return None
    corpora = find_corpora(recipe.data.model_copy(update={"corpora": list[Corpus](how.corpora)}))
    clips = min(recipe.batch_clips, how.max_clips)
    return lambda: held_out(corpora, kind, max_clips=how.max_clips, batch_clips=clips, rank=crew.rank, world=crew.world)


def _card(
    recipe: FitRecipe, net: Fit, sound: tuple[VaeRef, str], text: Conditioner, step: int, scale: float
) -> dict[str, Any]:
    how = recipe.diffusion
    vae, vocoder = sound
    card = GenauCard(
        model_id=recipe.name,
        shape=net.shape,
        schedule=ScheduleCard(steps=how.steps, first_beta=how.first_beta, last_beta=how.last_beta),
        prediction=how.prediction,
        scale_factor=scale,
        datasets=dict(recipe.datasets),
        unconditional=recipe.unconditional_id,
        conditioners=tuple(_conditioner_cards(recipe.text, text)),
        vae=vae,
        vocoder=vocoder,
        self_conditioning=how.self_conditioning > 0,
        step=step,
        recipe=recipe.decisive(),
    )
    return card.model_dump(mode="json")


def _conditioner_cards(how: TextSettings, text: Conditioner) -> Iterator[ConditionerCard]:
    inner = text.inner if isinstance(text, Cached) else text
    parts = inner.parts if isinstance(inner, Joined) else (inner,)
    for name, part in zip(how.encoders, parts, strict=True):
        yield ConditionerCard(
            name=name,
            width=part.width,
            weights_sha256=part.weights_sha256,
            pooling=how.t5_pooling if name.startswith("t5:") else None,
            tokenizer=how.clap_tokenizer if name.startswith("clap:") else None,
        )
