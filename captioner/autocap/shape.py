"""AutoCap's sizes, read from a checkpoint's tensors; what they cannot tell (heads) is the published number."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from scorer.clap_weights import shape_of as tower_shape_of
from scorer.htsat import HtsatShape
from scorer.weights import WeightsError

TOWER = "encoder.audio_enc."
QUERY_HEADS = 8
#: BART-base has 12 heads for 768 numbers.
BART_HEAD_WIDTH = 64


@dataclass(frozen=True)
class AutoCapShape:
    """The parts around BART. Published: 256 queries of width 256, 2 layers, 12 special tokens, CLAP of 512."""

    tower: HtsatShape
    queries: int
    query_width: int
    query_layers: int
    query_inner: int
    special_tokens: int
    positions: int
    clap_dim: int | None
    query_heads: int = QUERY_HEADS


def shape_of(state: Mapping[str, torch.Tensor]) -> AutoCapShape:
    """From a state dict under the published names; WeightsError where a name is not there."""

    def sized(name: str, dimensions: int) -> torch.Size:
        return shape_in(state, name, dimensions)

    _, queries, width = sized("audio_query_tokens", 3)
    layer = r"audio_Qformer\.bert\.encoder\.layer\.(\d+)\..*"
    layers = {int(match[1]) for name in state if (match := re.fullmatch(layer, name))}
    sized(TOWER + "patch_embed.proj.weight", 4)
    return AutoCapShape(
        tower=tower_shape_of({n.removeprefix(TOWER): v for n, v in state.items() if n.startswith(TOWER)}),
        queries=queries,
        query_width=width,
        query_layers=len(layers),
        query_inner=sized("audio_Qformer.bert.encoder.layer.0.intermediate_query.dense.weight", 2)[0],
        special_tokens=sized("special_tokens_embed.special_token_embed.weight", 2)[0],
        positions=sized("audio_position_embedding.weight", 2)[0],
        clap_dim=sized("clap_proj.weight", 2)[1] if "clap_proj.weight" in state else None,
    )


def shape_in(state: Mapping[str, torch.Tensor], name: str, dimensions: int) -> torch.Size:
    """A tensor's shape; WeightsError if it is missing, or of another number of dimensions."""
    if name not in state:
        raise WeightsError(f"{name} is missing: this is no AutoCap checkpoint")
    if state[name].dim() != dimensions:
        raise WeightsError(f"{name} has shape {tuple(state[name].shape)}, wanted {dimensions} dimensions")
    return state[name].shape


def bart_config(state: Mapping[str, torch.Tensor]) -> Any:
    """A BartConfig with bart-base's fields and the sizes of the tensors under `decoder.`."""
    from transformers import BartConfig

    def sized(name: str) -> torch.Size:
        return shape_in(state, f"decoder.model.{name}", 2)

    def layers(side: str) -> int:
        found = (re.match(rf"decoder\.model\.{side}\.layers\.(\d+)\.", name) for name in state)
        return len({match[1] for match in found if match})

    vocabulary, width = sized("shared.weight")
    return BartConfig(
        vocab_size=vocabulary,
        d_model=width,
        encoder_layers=layers("encoder"),
        decoder_layers=layers("decoder"),
        encoder_attention_heads=max(width // BART_HEAD_WIDTH, 1),
        decoder_attention_heads=max(width // BART_HEAD_WIDTH, 1),
        encoder_ffn_dim=sized("encoder.layers.0.fc1.weight")[0],
        decoder_ffn_dim=sized("decoder.layers.0.fc1.weight")[0],
        max_position_embeddings=sized("encoder.embed_positions.weight")[0] - 2,
    )
