"""GenAU's weights from a file, by name: published Lightning checkpoints, VAE and vocoder files, our own folders.

    found = read_fit(Path("genau-full-l.ckpt"))     # or a folder; genau-full-l.yaml is read where it lies beside
    net = build_fit(found)

Sizes are read from the tensors' shapes. Each name that is missing or unknown is told: within a model it is an error,
beside the models' own prefixes a note in `found.notes`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeVar

import torch
from torch import nn

from genau import fit as fit_model
from genau import linear_vae
from genau import vae as vae_model
from genau import vocoder as vocoder_model
from genau.card import GenauCard, VaeCard, VaeRef, read_folder
from genau.fit import Fit, FitShape
from genau.linear_vae import LinearVae
from genau.published_config import PublishedConfig, read_config
from genau.vae import Vae
from genau.vocoder import Vocoder, fold_weight_norm
from scorer.torch_file import State, read_state
from scorer.weights import CARD_FILE, WeightsError

log = logging.getLogger(__name__)

Averaged = Literal["auto", "ema", "raw"]

FIT, EMA, VAE, VOCODER = "model.diffusion_model.", "model_ema.", "first_stage_model.", "vocoder."
#: In published files, not in what generates: encoders (they come from their own files), losses, training's counters.
KNOWN = re.compile(r"(cond_stage_models|clap|loss)\..*|logvar|alphas_cumprod(_prev)?|sqrt_(one_minus_)?alphas_cumprod")
EMA_COUNTERS = ("decay", "num_updates")
#: Latent steps of a published clip: with the number of patches they give the patch.
PUBLISHED_STEPS = 256

Net = TypeVar("Net", bound=nn.Module)


@dataclass(frozen=True)
class FitWeights:
    """A denoiser's tensors (FIT's names), its card, and what else its file holds."""

    path: Path
    state: State
    card: GenauCard
    averaged: bool = False
    published: bool = False
    #: The VAE's and the vocoder's tensors inside a published file; {} where it holds none.
    vae: State = field(default_factory=dict)
    vocoder: State = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class VaeWeights:
    """A VAE's tensors; `vocoder` is {} where the file holds none."""

    path: Path
    state: State
    weights_sha256: str
    vocoder_name: str = ""
    vocoder: State = field(default_factory=dict)


def read_fit(
    path: Path,
    *,
    averaged: Averaged = "auto",
    config: Path | None = None,
    sizes: Mapping[str, int] | None = None,
) -> FitWeights:
    """A folder of ours or a published file. WeightsError for anything else.

    `averaged`: the averaged weights of a published file (ema), those of its last step (raw), or the averaged ones where
    there are any. `config`: its YAML, by default the one of the same name beside it. `sizes`: patch, group, head_width,
    before what the YAML says.
    """
    if path.is_dir() or path.name == CARD_FILE:
        if averaged == "ema" or config is not None or sizes:
            raise WeightsError(f"{path} is a model folder: its card says what it is; no other sizes, YAML or EMA")
        folder = path if path.is_dir() else path.parent
        card, state = read_folder(folder, GenauCard)
        return FitWeights(folder, _floats(state), card)
    state, sha256 = read_state(path, mapped=True)
    try:
        found = _published(path, state, averaged, _config(path, config), sizes or {})
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    for note in found.notes:
        log.warning("%s: %s", path, note)
    return replace(found, card=found.card.model_copy(update={"weights_sha256": sha256}))


def _config(path: Path, given: Path | None) -> PublishedConfig:
    beside = [path.with_suffix(suffix) for suffix in (".yaml", ".yml")]
    found = given or next((one for one in beside if one.is_file()), None)
    return PublishedConfig() if found is None else read_config(found)


def _published(
    path: Path, state: State, averaged: Averaged, config: PublishedConfig, sizes: Mapping[str, int]
) -> FitWeights:
    raw = under(state, FIT)
    if not raw and "patches_pe" in state:  # a denoiser's tensors alone
        raw, state = state, {}
    if "patches_pe" not in raw:
        some = ", ".join(sorted({name.split(".")[0] for name in raw or state})[:6])
        raise WeightsError(f"no GenAU checkpoint: no FIT under {FIT!r} (no patches_pe); its names begin with {some}")
    ema = {name: value for name, value in under(state, EMA).items() if name not in EMA_COUNTERS}
    if averaged == "ema" and not ema:
        raise WeightsError(f"no averaged weights ({EMA}*) in it; take the last step's (raw)")
    take = averaged == "ema" or (averaged == "auto" and bool(ema))
    _check_schedule(state, config)
    inside = under(state, VAE)
    scale = float(state["scale_factor"]) if "scale_factor" in state else config.scale_factor
    known = (FIT, EMA, VAE)
    other = [
        name for name in state if not name.startswith(known) and not KNOWN.fullmatch(name) and name != "scale_factor"
    ]
    weights = _floats(_averaged(raw, ema) if take else raw)
    shape = shape_of(weights, {**config.fit, **sizes})
    datasets = {name: number for name, number in config.datasets.items() if number < shape.datasets}
    card = GenauCard(
        model_id=path.stem,
        shape=shape,
        schedule=config.schedule,
        scale_factor=1.0 if scale is None else scale,
        datasets=datasets,
        unconditional=config.unconditional,
        dataset=next((name for name, number in datasets.items() if number == 0), None),
        conditioners=(),
        vae=VaeRef(model=str(path), weights_sha256=""),
    )
    return FitWeights(
        path,
        weights,
        card,
        averaged=take,
        published=True,
        vae={name: value for name, value in inside.items() if not name.startswith((VOCODER, "loss."))},
        vocoder=under(inside, VOCODER),
        notes=(f"left alone, names that are not known: {', '.join(other)}",) if other else (),
    )


def _averaged(raw: State, ema: State) -> State:
    """EMA's names are FIT's under "diffusion_model" without their dots; what is not averaged (buffers) is the raw."""
    dotless = {dotless_name(name): name for name in raw}
    unknown = [name for name in ema if name not in dotless]
    missing = [name for name in raw if dotless_name(name) not in ema and not name.endswith(".beta")]
    if unknown or missing:
        raise WeightsError("its averaged weights do not fit: " + "; ".join(_faults(missing, unknown, "FIT")))
    return raw | {dotless[name]: value for name, value in ema.items()}


def dotless_name(name: str) -> str:
    """FIT's name as the reference's EMA writes it (behind "model_ema.")."""
    return f"diffusion_model{name.replace('.', '')}"


def _check_schedule(state: State, config: PublishedConfig) -> None:
    theirs = state.get("alphas_cumprod")
    ours = config.schedule.make().alphas_cumprod
    if theirs is not None and (theirs.shape != ours.shape or not torch.allclose(theirs.float(), ours, atol=1e-5)):
        raise WeightsError(
            "its noise schedule is another than its configuration's: give the YAML that belongs to it (--config)"
        )


def shape_of(state: State, sizes: Mapping[str, int]) -> FitShape:
    """FIT's sizes; where nobody states the patch it follows from the number of patches in a published clip."""
    patches = len(state["patches_pe"])
    sizes = {"patch": max(PUBLISHED_STEPS // patches, 1), "group": min(32, patches), **sizes}
    try:
        shape = fit_model.shape_of(state, **sizes)
    except (KeyError, ValueError, IndexError) as error:
        raise WeightsError(f"its FIT's sizes cannot be read: {error} is missing or of another rank") from error
    check_shape(shape)
    return shape


def check_shape(shape: FitShape) -> None:
    """WeightsError, in a sentence, for sizes that do not go together."""
    wrong = [
        f"{of} {value} is no multiple of {by} {part}"
        for of, value, by, part in (
            ("patches", shape.patches, "group", shape.group),
            ("latents", shape.latents, "groups", max(shape.groups, 1)),
            ("patch width", shape.patch_width, "head width", shape.head_width),
            ("latent width", shape.latent_width, "head width", shape.head_width),
            ("context width", shape.context_width, "head width", shape.head_width),
        )
        if part < 1 or value % part
    ]
    if wrong:
        raise WeightsError(f"sizes do not go together: {'; '.join(wrong)}. Give its YAML, or patch, group, head_width")


def read_vae(path: Path) -> VaeWeights:
    """A folder of ours, the reference's VAE file, or the VAE inside a published GenAU file."""
    if path.is_dir():
        card, state = read_folder(path, VaeCard)
        return VaeWeights(path, _floats(state), card.weights_sha256, card.vocoder)
    state, sha256 = read_state(path, mapped=True)
    state = under(state, VAE) or state
    if "encoder.conv_in.weight" not in state:
        some = ", ".join(sorted({name.split(".")[0] for name in state})[:6])
        raise WeightsError(f"{path} is no VAE of GenAU's: no encoder.conv_in.weight; its names begin with {some}")
    own = {name: value for name, value in state.items() if not name.startswith(("loss.", VOCODER))}
    return VaeWeights(path, _floats(own), sha256, "", under(state, VOCODER))


def read_vocoder(path: Path) -> tuple[State, str]:
    """A HiFi-GAN's tensors and the file's SHA-256: {"generator": ...}, or the vocoder inside a VAE's file."""
    state, sha256 = read_state(path, ("generator", "state_dict"), mapped=True)
    state = under(state, VAE) or state
    return under(state, VOCODER) or state, sha256


def build_fit(found: FitWeights) -> Fit:
    """The denoiser with these tensors, ready to be asked."""
    with torch.device("meta"):
        net = Fit(found.card.shape)
    return _filled(net, found.state, f"the denoiser of {found.path}")


def build_vae(state: State, what: str) -> Vae | LinearVae:
    """The VAE with these tensors, ready to be asked."""
    try:
        with torch.device("meta"):
            net = LinearVae(linear_vae.shape_of(state)) if "decoder.weight" in state else Vae(vae_model.shape_of(state))
    except (KeyError, ValueError, IndexError) as error:
        raise WeightsError(f"{what}: sizes cannot be read: {error} is missing or of another rank") from error
    return _filled(net, state, what)


def build_vocoder(state: State, what: str) -> Vocoder:
    """A HiFi-GAN of published names, weight norm folded or not."""
    try:
        folded = _floats(fold_weight_norm(state))
        with torch.device("meta"):
            net = Vocoder(vocoder_model.shape_of(folded))
    except (KeyError, ValueError, IndexError) as error:
        raise WeightsError(f"{what} is no HiFi-GAN of these names: {error} is missing or of another rank") from error
    return _filled(net, folded, what)


def _filled(net: Net, state: State, what: str) -> Net:
    wanted = net.state_dict()
    faults = _faults((n for n in wanted if n not in state), (n for n in state if n not in wanted), what)
    faults += [
        f"{name} has shape {tuple(value.shape)}, wanted {tuple(wanted[name].shape)}"
        for name, value in state.items()
        if name in wanted and value.shape != wanted[name].shape
    ]
    if faults:
        raise WeightsError(f"{what} does not fit: " + "; ".join(faults))
    net.load_state_dict(state, assign=True)
    return net.eval().requires_grad_(False)


def _faults(missing: Iterable[str], unknown: Iterable[str], what: str) -> list[str]:
    return [f"{name} is missing" for name in missing] + [f"{name} is not a tensor of {what}" for name in unknown]


def under(state: State, prefix: str) -> State:
    """What stands behind a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _floats(state: State) -> State:
    """In float32 and in memory: a mapped file may change under us."""
    return {name: value.to(torch.float32, copy=True) for name, value in state.items()}
