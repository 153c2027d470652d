"""Published CLAP weights in one layout: LAION's .pt files and transformers' ClapModel, sizes read from the shapes.

LAION's training checkpoints hold more than the model (optimiser, epoch, the classifier of the audio tower, the two
`_transform` heads of the training loss): those names are known and left alone. Any other name that is too much or
missing is an error that lists it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from scorer.htsat import HtsatShape
from scorer.torch_file import State, read_state
from scorer.weights import WeightsError

#: In the published files, not in what embeds: front ends, classifiers, training's heads, tables worked out anew.
UNUSED = re.compile(
    r"logit_scale(_a|_t)?|attn_mask|(audio|text)_transform\..*|text_branch\.embeddings\.(position|token_type)_ids"
    r"|audio_branch\.(spectrogram_extractor|logmel_extractor|tscam_conv|head)\..*"
    r"|audio_branch\..*(relative_position_index|attn_mask|num_batches_tracked)"
)
HINT = "LAION's files with an HTSAT tower and RoBERTa text are read; others: model: laion-clap:FILE (its own package)"


@dataclass(frozen=True)
class ClapWeights:
    """One CLAP: `audio` as scorer.htsat names it, `text` as transformers' ClapTextModel does."""

    audio: State
    text: State
    audio_projection: State  # linear1, linear2
    text_projection: State
    shape: HtsatShape
    embedding_dim: int


def read_laion(path: Path) -> tuple[ClapWeights, str]:
    """The weights of one of LAION's .pt files, and the file's SHA-256."""
    state, sha256 = read_state(path)
    try:
        return from_laion({name.removeprefix("module."): value for name, value in state.items()}), sha256
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error


def from_laion(state: State) -> ClapWeights:
    """LAION's names; see HINT for what is read."""
    names = [name for name in state if not UNUSED.fullmatch(name)]
    audio = {n.removeprefix("audio_branch."): state[n] for n in names if n.startswith("audio_branch.")}
    text = {n.removeprefix("text_branch."): state[n] for n in names if n.startswith("text_branch.")}
    if "patch_embed.proj.weight" not in audio:
        raise WeightsError(f"its audio tower is no HTSAT. {HINT}")
    if "embeddings.word_embeddings.weight" not in text:
        raise WeightsError(f"its text tower is no RoBERTa. {HINT}")
    projections = {side: _linears(state, f"{side}_projection", "0", "2") for side in ("audio", "text")}
    known = re.compile(r"(audio_branch|text_branch|audio_projection|text_projection)\..*")
    unknown = [name for name in names if not known.fullmatch(name)]
    if unknown:
        raise WeightsError(f"these names are not CLAP's: {', '.join(unknown[:8])}. {HINT}")
    return _weights(audio, text, projections["audio"], projections["text"])


#: What scorer/htsat.py computes; a ClapModel could be configured otherwise, and then is not read.
AS_PUBLISHED = {
    "mlp_ratio": 4.0, "hidden_act": "gelu", "qkv_bias": True, "layer_norm_eps": 1e-5, "projection_hidden_act": "relu",
    "enable_patch_layer_norm": True, "flatten_patch_embeds": True,
}  # fmt: skip


def from_transformers(model: Any) -> ClapWeights:
    """A ClapModel's weights under the same names. WeightsError for one that is built unlike the published ones."""
    config = model.config.audio_config
    other = {name: value for name, value in AS_PUBLISHED.items() if getattr(config, name) != value}
    if config.spec_size != 4 * config.num_mel_bins:
        other["spec_size"] = 4 * config.num_mel_bins
    if config.enable_fusion and config.fusion_type != "aff_2d":
        other["fusion_type"] = "aff_2d"
    if other:
        told = ", ".join(f"{name} is {getattr(config, name)!r}, wanted {value!r}" for name, value in other.items())
        raise WeightsError(f"this ClapModel's audio tower is built unlike LAION's: {told}")
    state: State = model.state_dict()
    audio = dict(_renamed(_under(state, "audio_model.audio_encoder.")))
    projections = {side: _linears(state, f"{side}_projection", "linear1", "linear2") for side in ("audio", "text")}
    return _weights(audio, _under(state, "text_model."), projections["audio"], projections["text"])


def _weights(audio: State, text: State, audio_projection: State, text_projection: State) -> ClapWeights:
    return ClapWeights(
        audio={name: value.float() for name, value in audio.items()},
        text={name: value.float() if value.is_floating_point() else value for name, value in text.items()},
        audio_projection=audio_projection,
        text_projection=text_projection,
        shape=shape_of(audio),
        embedding_dim=len(audio_projection["linear2.bias"]),
    )


def shape_of(audio: State) -> HtsatShape:
    """The tower's sizes from its tensors."""
    width = len(audio["patch_embed.proj.weight"])
    tables = {
        (int(m[1]), int(m[2])): value
        for name, value in audio.items()
        if (m := re.fullmatch(r"layers\.(\d+)\.blocks\.(\d+)\.attn\.relative_position_bias_table", name))
    }
    if not tables:
        raise WeightsError(f"its audio tower has no Swin blocks. {HINT}")
    stages = 1 + max(stage for stage, _ in tables)
    window = (round(len(tables[0, 0]) ** 0.5) + 1) // 2
    fused = audio.get("patch_embed.fusion_model.local_att.0.weight")
    mels, patch = len(audio["bn0.weight"]), int(audio["patch_embed.proj.weight"].shape[-1])
    return HtsatShape(
        width=width,
        depths=tuple(sum(1 for stage, _ in tables if stage == at) for at in range(stages)),
        heads=tuple(int(tables[at, 0].shape[1]) for at in range(stages)),
        window=window,
        mels=mels,
        picture=4 * mels,
        patch=patch,
        fusion=fused is not None,
        fusion_width=0 if fused is None else len(fused),
    )


def _under(state: State, prefix: str) -> State:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _linears(state: State, prefix: str, first: str, second: str) -> State:
    """The two layers of a projection, by one pair of names."""
    found = {}
    for theirs, ours in ((first, "linear1"), (second, "linear2")):
        for part in ("weight", "bias"):
            name = f"{prefix}.{theirs}.{part}"
            if name not in state:
                raise WeightsError(f"{name} is missing. {HINT}")
            found[f"{ours}.{part}"] = state[name].float()
    return found


#: transformers' names of a Swin block -> HTS-AT's.
RENAMED = (
    ("batch_norm.", "bn0."),
    ("attention.self.relative_position_bias_table", "attn.relative_position_bias_table"),
    ("attention.output.dense", "attn.proj"),
    ("intermediate.dense", "mlp.fc1"),
    ("output.dense", "mlp.fc2"),
    ("layernorm_before", "norm1"),
    ("layernorm_after", "norm2"),
)


def _renamed(state: State) -> Iterator[tuple[str, torch.Tensor]]:
    for name, value in state.items():
        if name.endswith(("relative_position_index", "num_batches_tracked", "self.key.weight", "self.value.weight")):
            continue
        if name.endswith(("self.key.bias", "self.value.bias")):
            continue
        if ".attention.self.query." in name:
            parts = [state[name.replace(".query.", f".{part}.")] for part in ("query", "key", "value")]
            yield name.replace("attention.self.query", "attn.qkv"), torch.cat(parts)
            continue
        for theirs, ours in RENAMED:
            if theirs in name:
                name = name.replace(theirs, ours)
                break
        yield name, value


def fill_module(module: torch.nn.Module, state: State, what: str, optional: str = "(?!)") -> None:
    """Every tensor by name and shape; `optional`: names that the module has and a file need not hold."""
    wanted = {n: v for n, v in module.state_dict().items() if not n.endswith("num_batches_tracked")}
    faults = [f"{n} is missing" for n in wanted if n not in state and not re.fullmatch(optional, n)]
    faults += [f"{n} is not a tensor of {what}" for n in state if n not in wanted]
    faults += [
        f"{n} has shape {tuple(v.shape)}, wanted {tuple(wanted[n].shape)}"
        for n, v in state.items()
        if n in wanted and v.shape != wanted[n].shape
    ]
    if faults:
        raise WeightsError(f"{what} does not fit: " + "; ".join(faults[:8]) + (" …" if len(faults) > 8 else ""))
    module.load_state_dict(state, strict=False)
