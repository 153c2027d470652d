"""BART without transformers, for captions only: what the small captioner speaks with.

Importing transformers' BART costs six seconds of processor time before the first caption; the network is two kinds of
layers. Parameters carry transformers' names, so that what it trained is read as it is; the decoder's loop is
captioner/autocap/decoder.py's. Held to transformers' own in tests/captioner/test_bart.py.

Shapes: B clips, S positions, W width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as fn

#: BART's position tables begin with two rows that nothing uses.
UNUSED_POSITIONS = 2


@dataclass(frozen=True)
class BartSizes:
    vocabulary: int
    width: int
    layers: int  # of the encoder, and of the decoder
    inner: int
    heads: int
    positions: int

    @property
    def decoder_attention_heads(self) -> int:
        return self.heads


class Bart(nn.Module):
    """`encode` is the encoder; the decoder's weights lie where transformers has them."""

    final_logits_bias: torch.Tensor

    def __init__(self, sizes: BartSizes) -> None:
        super().__init__()
        self.config = sizes
        self.model = Towers(sizes)
        self.lm_head = nn.Linear(sizes.width, sizes.vocabulary, bias=False)
        self.register_buffer("final_logits_bias", torch.zeros(1, sizes.vocabulary))

    def get_input_embeddings(self) -> nn.Embedding:
        return self.model.shared

    def encode(self, inputs_BSW: torch.Tensor, mask_BS: torch.Tensor) -> torch.Tensor:
        """(B, S, W) and its mask, 1 for what is there -> (B, S, W)."""
        return torch.as_tensor(self.model.encoder(inputs_BSW, mask_BS))


class Towers(nn.Module):
    def __init__(self, sizes: BartSizes) -> None:
        super().__init__()
        self.shared = nn.Embedding(sizes.vocabulary, sizes.width)
        self.encoder = Encoder(sizes)
        self.decoder = Side(sizes, crossing=True)


class Side(nn.Module):
    """What encoder and decoder have alike: tables, the first norm, layers."""

    def __init__(self, sizes: BartSizes, *, crossing: bool) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(sizes.vocabulary, sizes.width)  # the shared table, as the file has it
        self.embed_positions = nn.Embedding(sizes.positions + UNUSED_POSITIONS, sizes.width)
        self.layers = nn.ModuleList([Layer(sizes, crossing=crossing) for _ in range(sizes.layers)])
        self.layernorm_embedding = nn.LayerNorm(sizes.width)


class Encoder(Side):
    def __init__(self, sizes: BartSizes) -> None:
        super().__init__(sizes, crossing=False)

    def forward(self, inputs_BSW: torch.Tensor, mask_BS: torch.Tensor) -> torch.Tensor:
        places = self.embed_positions.weight[UNUSED_POSITIONS : UNUSED_POSITIONS + inputs_BSW.shape[1]]
        hidden = self.layernorm_embedding(inputs_BSW + places)
        heard = mask_BS[:, None, None].bool()
        for layer in self.layers:
            hidden = layer(hidden, heard)
        return torch.as_tensor(hidden)


class Layer(nn.Module):
    """Post-norm. The decoder's has cross-attention, and is run by the decoder's loop."""

    def __init__(self, sizes: BartSizes, *, crossing: bool) -> None:
        super().__init__()
        width = sizes.width
        self.self_attn = Attention(width, sizes.heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        if crossing:
            self.encoder_attn = Attention(width, sizes.heads)
            self.encoder_attn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, sizes.inner)
        self.fc2 = nn.Linear(sizes.inner, width)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(self, hidden_BSW: torch.Tensor, heard: torch.Tensor) -> torch.Tensor:
        hidden_BSW = self.self_attn_layer_norm(hidden_BSW + self.self_attn(hidden_BSW, heard))
        told = self.fc2(fn.gelu(self.fc1(hidden_BSW)))
        return torch.as_tensor(self.final_layer_norm(hidden_BSW + told))


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.q_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, hidden_BSW: torch.Tensor, heard: torch.Tensor) -> torch.Tensor:
        batch, length, width = hidden_BSW.shape
        query, key, value = (
            project(hidden_BSW).view(batch, length, self.heads, width // self.heads).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        told = fn.scaled_dot_product_attention(query, key, value, attn_mask=heard)
        return torch.as_tensor(self.out_proj(told.transpose(1, 2).reshape(batch, length, width)))
