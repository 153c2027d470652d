"""The audio Q-Former: learned queries that draw what BART is to read out of 1,024 audio tokens (after BLIP-2).

Post-norm BERT layers, each with self-attention of the queries, cross-attention into the audio, and a feed-forward net.
Own code; parameters carry the published checkpoint's names (`audio_Qformer.bert.…`).
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as fn

from captioner.autocap.shape import AutoCapShape

NORM_EPS = 1e-12
DROPOUT = 0.1
#: The reference cuts attention scores here before the softmax.
SCORE_LIMIT = 100.0


class QFormer(nn.Module):
    """(1, Q, D) queries and (B, K, C) audio -> (B, Q, D)."""

    def __init__(self, shape: AutoCapShape, audio_width: int) -> None:
        super().__init__()
        self.bert = Bert(shape, audio_width)

    def forward(self, queries: torch.Tensor, audio_BKC: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.bert(queries, audio_BKC))


class Bert(nn.Module):
    def __init__(self, shape: AutoCapShape, audio_width: int) -> None:
        super().__init__()
        self.embeddings = nn.ModuleDict({"LayerNorm": nn.LayerNorm(shape.query_width, eps=NORM_EPS)})
        layers = [QueryLayer(shape, audio_width) for _ in range(shape.query_layers)]
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(layers)})

    def forward(self, queries: torch.Tensor, audio_BKC: torch.Tensor) -> torch.Tensor:
        hidden = fn.dropout(self.embeddings["LayerNorm"](queries), DROPOUT, self.training)
        hidden = hidden.expand(len(audio_BKC), -1, -1)
        layers: nn.ModuleList = self.encoder["layer"]  # type: ignore[assignment]
        for layer in layers:
            hidden = layer(hidden, audio_BKC)
        return hidden


class QueryLayer(nn.Module):
    def __init__(self, shape: AutoCapShape, audio_width: int) -> None:
        super().__init__()
        width = shape.query_width
        self.attention = Attention(width, width, shape.query_heads)
        self.crossattention = Attention(width, audio_width, shape.query_heads)
        self.intermediate_query = nn.ModuleDict({"dense": nn.Linear(width, shape.query_inner)})
        self.output_query = AddNorm(shape.query_inner, width)

    def forward(self, hidden_BQD: torch.Tensor, audio_BKC: torch.Tensor) -> torch.Tensor:
        hidden_BQD = self.attention(hidden_BQD, hidden_BQD)
        hidden_BQD = self.crossattention(hidden_BQD, audio_BKC)
        inner = fn.gelu(self.intermediate_query["dense"](hidden_BQD))
        return torch.as_tensor(self.output_query(inner, hidden_BQD))


class Attention(nn.Module):
    def __init__(self, width: int, other_width: int, heads: int) -> None:
        super().__init__()
        self.self = Heads(width, other_width, heads)
        self.output = AddNorm(width, width)

    def forward(self, hidden: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.output(self.self(hidden, other), hidden))


class Heads(nn.Module):
    def __init__(self, width: int, other_width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(other_width, width)
        self.value = nn.Linear(other_width, width)

    def forward(self, hidden_BQD: torch.Tensor, other_BKC: torch.Tensor) -> torch.Tensor:
        query, key, value = (
            each.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for each in (self.query(hidden_BQD), self.key(other_BKC), self.value(other_BKC))
        )
        scores = (query / math.sqrt(query.shape[-1])) @ key.transpose(2, 3)
        weights = scores.clamp_(-SCORE_LIMIT, SCORE_LIMIT).softmax(dim=-1)
        weights = fn.dropout(weights, DROPOUT, self.training)
        return torch.as_tensor((weights @ value).transpose(1, 2).flatten(2))


class AddNorm(nn.Module):
    def __init__(self, inner: int, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inner, width)
        self.LayerNorm = nn.LayerNorm(width, eps=NORM_EPS)

    def forward(self, inner: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        told = fn.dropout(self.dense(inner), DROPOUT, self.training)
        return torch.as_tensor(self.LayerNorm(told + residual))
