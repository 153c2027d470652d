"""A generator from names: a model folder or published file, its VAE, its vocoder, its text encoders.

    generator = load_generator("models/rain")
    generator = load_generator("genau-full-s.ckpt", conditioners=["clap:clap_htsat_tiny.pt", PUBLISHED_T5])

What a card names is taken unless something else is given; what does not belong together is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch

from genau.card import GRIFFIN_LIM, GenauCard
from genau.checkpoint import (
    Averaged,
    FitWeights,
    VaeWeights,
    build_fit,
    build_vae,
    build_vocoder,
    read_fit,
    read_vae,
    read_vocoder,
)
from genau.codec import EMBEDDED, WEIGHTS, Codec
from genau.generate import GenauGenerator, Parts, Precision
from genau.griffin_lim import GriffinLim
from generation.conditioners.base import Conditioner, Joined
from generation.conditioners.load import PUBLISHED_T5, load_conditioner
from generation.conditioners.t5 import Pooling
from generation.errors import GenerationError
from scorer.torch_file import State

log = logging.getLogger(__name__)


def load_generator(
    model: str | Path,
    *,
    vae: str | None = None,
    vocoder: str | None = None,
    conditioners: Sequence[str] | Conditioner | None = None,
    device: str = "cpu",
    precision: Precision | Literal["auto"] = "auto",
    averaged: Averaged = "auto",
    config: str | None = None,
    sizes: Mapping[str, int] | None = None,
    pooling: Pooling | None = None,
    clap_tokenizer: str | None = None,
    dataset: str | None = None,
    clips_at_once: int | None = None,
) -> GenauGenerator:
    """`vae`: "embedded", a folder, a file. `vocoder`: "griffin-lim" or a HiFi-GAN's file.

    `precision` auto: bfloat16 on a GPU. `pooling`, `clap_tokenizer`: by default the card's. `dataset`: in whose manner;
    by default the card's, "none": in nobody's. The others as genau.checkpoint.read_fit and generation.conditioners.load
    have them. GenerationError, WeightsError, ConditionerError, each with what to do.
    """
    found = read_fit(Path(model), averaged=averaged, config=None if config is None else Path(config), sizes=sizes)
    card = found.card
    vae_weights = _vae(found, vae)
    name, tensors, vocoder_sha256 = _vocoder(found, vae_weights, vocoder)
    texts = _conditioner(found, conditioners, device, pooling, clap_tokenizer)
    if texts.width != card.shape.text_width:
        raise GenerationError(
            f"{card.model_id} reads {card.shape.text_width} numbers of a prompt; {texts.name} gives {texts.width}"
        )
    codec = Codec(
        build_vae(vae_weights.state, f"the VAE {vae_weights.path}"),
        build_vocoder(tensors, f"the vocoder {name}") if tensors else GriffinLim(),
        model=str(vae_weights.path),
        weights_sha256=vae_weights.weights_sha256,
        vocoder_name=name,
    )
    if codec.shape.latent_channels != card.shape.channels:
        raise GenerationError(
            f"{card.model_id} makes latents of {card.shape.channels} channels; the VAE {vae_weights.path} has "
            f"{codec.shape.latent_channels}"
        )
    parts = Parts(
        card=card,
        fit=build_fit(found),
        codec=codec,
        conditioner=texts,
        about={
            "averaged": str(found.averaged).lower() if found.published else "as trained",
            "vae_sha256": vae_weights.weights_sha256,
            "vocoder": name if vocoder_sha256 == "" else vocoder_sha256,
            "conditioners": f"{texts.name}@{texts.weights_sha256}",
        },
    )
    if precision == "auto":
        precision = "bfloat16" if torch.device(device).type == "cuda" else "float32"
    manner = card.dataset if dataset is None else None if dataset == "none" else dataset
    return GenauGenerator(parts, device=device, precision=precision, dataset=manner, clips_at_once=clips_at_once)


def _vae(found: FitWeights, given: str | None) -> VaeWeights:
    if given is None and found.published:
        if not found.vae:
            raise GenerationError(f"{found.path} holds no VAE: give one (--vae), the file or folder that goes with it")
        return VaeWeights(found.path, found.vae, found.card.weights_sha256, "", found.vocoder)
    name = given or found.card.vae.model
    read = read_vae(WEIGHTS if name == EMBEDDED else _beside(found.path, name))
    wanted = found.card.vae.weights_sha256
    if wanted and read.weights_sha256 != wanted:
        raise GenerationError(
            f"{found.card.model_id} was trained on the latents of a VAE with SHA-256 {wanted[:12]}…; {read.path} has "
            f"{read.weights_sha256[:12]}…: give that VAE (--vae)"
        )
    return read


def _vocoder(found: FitWeights, vae: VaeWeights, given: str | None) -> tuple[str, State, str]:
    """Its name, its tensors ({}: it needs none), and their SHA-256."""
    if given is None and vae.vocoder:
        return "inside the VAE's file", vae.vocoder, vae.weights_sha256
    name = given or (vae.vocoder_name if found.card.vocoder == GRIFFIN_LIM else found.card.vocoder) or GRIFFIN_LIM
    if name == GRIFFIN_LIM:
        if found.published and given is None:
            log.warning("%s holds no vocoder: Griffin-Lim makes the waves; --vocoder FILE sounds better", vae.path)
        return name, {}, ""
    return name, *read_vocoder(_beside(found.path, name))


def _beside(model: Path, name: str) -> Path:
    """A path as it is, or else as seen from the model's folder."""
    here = Path(name)
    there = (model if model.is_dir() else model.parent) / name
    return there if not here.exists() and there.exists() else here


def _conditioner(
    found: FitWeights,
    given: Sequence[str] | Conditioner | None,
    device: str,
    pooling: Pooling | None,
    clap_tokenizer: str | None,
) -> Conditioner:
    card = found.card
    if given is not None and not isinstance(given, Sequence):
        return given
    names = given or [part.name for part in card.conditioners]
    if not names:
        raise GenerationError(
            f"{found.path} holds no text encoders: give those it was trained with, in their order, for a published one "
            f"--conditioner clap:clap_htsat_tiny.pt --conditioner {PUBLISHED_T5}"
        )
    said = next((part.pooling for part in card.conditioners if part.pooling), None)
    tokenizer = next((part.tokenizer for part in card.conditioners if part.tokenizer), None)
    texts = load_conditioner(
        names, device, pooling=pooling or said or "tokens", clap_tokenizer=clap_tokenizer or tokenizer
    )
    _check_hashes(card, texts)
    return texts


def _check_hashes(card: GenauCard, texts: Conditioner) -> None:
    parts = texts.parts if isinstance(texts, Joined) else (texts,)
    for wanted, part in zip(card.conditioners, parts, strict=False):
        if wanted.weights_sha256 and wanted.weights_sha256 != part.weights_sha256:
            raise GenerationError(
                f"{card.model_id} was trained with {wanted.name} of SHA-256 {wanted.weights_sha256[:12]}…; "
                f"{part.name} has {part.weights_sha256[:12]}…: give that one (--conditioner)"
            )
