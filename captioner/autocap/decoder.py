"""BART's decoder, one token at a time, over caches of a fixed size.

Against transformers' own loop: the encoder's keys and values are worked out once per clip and never copied (beams are
queries of one clip), the first two ids, which are always the same, go through in one pass and once per clip, and the
three projections of self-attention are one product.

Shapes: B clips, R = B x beams rows, T the longest caption, H heads, d numbers a head, S encoder positions, V words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as fn

Linear = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Layer:
    """One decoder layer's weights, as they are used."""

    qkv: Linear
    out: Linear
    norm: Linear
    cross_query: Linear
    cross_kv: Linear
    cross_out: Linear
    cross_norm: Linear
    fc1: Linear
    fc2: Linear
    last_norm: Linear


@dataclass
class Memory:
    """What a pass over captions remembers."""

    cross: list[tuple[torch.Tensor, torch.Tensor]]  # per layer: keys and values, (B, H, S, d)
    mask: torch.Tensor | None  # (B, 1, 1, S), added to the scores; None: nothing is filled up
    past: torch.Tensor  # (layers, 2, R, H, T, d)
    clips: int


class Decoder:
    """The decoder of a BartForConditionalGeneration, read anew whenever its weights were changed or moved.

    `static`: every step has the same shapes, whatever its place, and asks the device nothing: for GPUs and compilers.
    """

    def __init__(self, bart: Any, *, static: bool = False, compiled: bool = False) -> None:
        decoder = bart.model.decoder
        self.heads = int(bart.config.decoder_attention_heads)
        self.words = bart.model.shared.weight
        self.words_bias = bart.final_logits_bias[0]
        self.positions = decoder.embed_positions.weight[2:]  # BART's positions begin at 2
        self.first_norm: Linear = (decoder.layernorm_embedding.weight, decoder.layernorm_embedding.bias)
        self.layers = [read_layer(layer) for layer in decoder.layers]
        self.static = static or compiled
        self._one: Any = torch.compile(self._hidden, dynamic=False) if compiled else self._hidden

    def begin(self, states_BSD: torch.Tensor, mask_BS: torch.Tensor | None, ids: list[int], length: int) -> tuple[
        Memory, torch.Tensor
    ]:  # fmt: skip
        """The first ids, alike for every clip, in one pass; one row a clip. Returns logits (B, V) behind the last."""
        memory = self._memory(states_BSD, mask_BS, len(states_BSD), length)
        told = torch.tensor(ids, device=states_BSD.device).expand(len(states_BSD), -1)
        hidden = self._hidden(memory, told, torch.arange(len(ids), device=states_BSD.device), known=len(ids))
        return memory, self._logits(hidden[:, -1])

    def read(self, states_BSD: torch.Tensor, mask_BS: torch.Tensor | None, ids_BEL: torch.Tensor) -> torch.Tensor:
        """Teacher forcing: E texts a clip, each from its first id on -> logits (B, E, L, V) of what follows each id."""
        clips, each, length = ids_BEL.shape
        memory = self._memory(states_BSD, mask_BS, clips * each, length)
        places = torch.arange(length, device=states_BSD.device)
        logits = self._logits(self._hidden(memory, ids_BEL.flatten(0, 1), places, known=length))
        return logits.view(clips, each, length, -1)

    def _memory(self, states_BSD: torch.Tensor, mask_BS: torch.Tensor | None, rows: int, length: int) -> Memory:
        clips = len(states_BSD)
        cross = [self._split(fn.linear(states_BSD, *layer.cross_kv), 2) for layer in self.layers]
        mask = None
        if mask_BS is not None and not bool(mask_BS.all()):
            mask = torch.zeros(mask_BS.shape, dtype=states_BSD.dtype, device=states_BSD.device)
            mask = mask.masked_fill(mask_BS == 0, torch.finfo(mask.dtype).min)[:, None, None]
        width = states_BSD.shape[2] // self.heads
        past = states_BSD.new_zeros(len(self.layers), 2, rows, self.heads, length, width)
        return Memory([(k, v) for k, v in cross], mask, past, clips)

    def spread(self, memory: Memory, beams: int) -> None:
        """From one row a clip to `beams` of them."""
        memory.past = memory.past.repeat_interleave(beams, dim=2)

    def reorder(self, memory: Memory, rows_R: torch.Tensor, length: int) -> None:
        """Row r goes on from what row rows_R[r] remembers of the first `length` ids."""
        memory.past[..., :length, :] = memory.past[..., :length, :].index_select(2, rows_R)

    def step(self, memory: Memory, ids_R: torch.Tensor, at: int) -> torch.Tensor:
        """Ids at position `at` -> logits (R, V) of the next."""
        known = memory.past.shape[4] if self.static else at + 1
        place = torch.full((1,), at, device=ids_R.device)
        return self._logits(self._one(memory, ids_R[:, None], place, known=known)[:, 0])

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        return fn.linear(hidden, self.words, self.words_bias)

    def _hidden(self, memory: Memory, ids_RL: torch.Tensor, places_L: torch.Tensor, known: int) -> torch.Tensor:
        """Ids at their places -> (R, L, D); of what is remembered, the first `known` places are looked at."""
        rows, new = ids_RL.shape
        width = self.words.shape[1]
        hidden = fn.embedding(ids_RL, self.words) + self.positions[places_L]
        hidden = norm(hidden, self.first_norm)
        seen = None
        if new > 1 or self.static:
            seen = torch.arange(known, device=places_L.device) <= places_L[:, None]
        for number, layer in enumerate(self.layers):
            query, key, value = self._split(fn.linear(hidden, *layer.qkv), 3)
            memory.past[number, 0].index_copy_(2, places_L, key)
            memory.past[number, 1].index_copy_(2, places_L, value)
            keys, values = memory.past[number, :, :, :, :known].unbind(0)
            told = fn.scaled_dot_product_attention(query, keys, values, attn_mask=seen)
            hidden = norm(hidden + fn.linear(told.transpose(1, 2).reshape(rows, new, width), *layer.out), layer.norm)
            # Beams of a clip are queries of one attention: its keys and values are read once.
            by_clip = fn.linear(hidden, *layer.cross_query).reshape(memory.clips, -1, self.heads, width // self.heads)
            told = fn.scaled_dot_product_attention(
                by_clip.transpose(1, 2), *memory.cross[number], attn_mask=memory.mask
            )
            told = told.transpose(1, 2).reshape(rows, new, width)
            hidden = norm(hidden + fn.linear(told, *layer.cross_out), layer.cross_norm)
            told = fn.linear(fn.gelu(fn.linear(hidden, *layer.fc1)), *layer.fc2)
            hidden = norm(hidden + told, layer.last_norm)
        return hidden

    def _split(self, product: torch.Tensor, parts: int) -> tuple[torch.Tensor, ...]:
        """(R, L, parts D) -> parts of (R, H, L, d)."""
        rows, length, _ = product.shape
        return torch.unbind(product.view(rows, length, parts, self.heads, -1).permute(2, 0, 3, 1, 4))


def read_layer(layer: Any) -> Layer:
    own, cross = layer.self_attn, layer.encoder_attn
    return Layer(
        qkv=joined(own.q_proj, own.k_proj, own.v_proj),
        out=pair(own.out_proj),
        norm=pair(layer.self_attn_layer_norm),
        cross_query=pair(cross.q_proj),
        cross_kv=joined(cross.k_proj, cross.v_proj),
        cross_out=pair(cross.out_proj),
        cross_norm=pair(layer.encoder_attn_layer_norm),
        fc1=pair(layer.fc1),
        fc2=pair(layer.fc2),
        last_norm=pair(layer.final_layer_norm),
    )


def pair(module: Any) -> Linear:
    return module.weight.detach(), module.bias.detach()


def joined(*modules: Any) -> Linear:
    return torch.cat([m.weight.detach() for m in modules]), torch.cat([m.bias.detach() for m in modules])


def norm(hidden: torch.Tensor, weights: Linear) -> torch.Tensor:
    return fn.layer_norm(hidden, (hidden.shape[-1],), *weights)
