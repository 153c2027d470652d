"""Teach the text tower to read as MiniLM does: same direction per phrase, same similarities between phrases."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as fn

from scorer.model import MAX_TEXT_TOKENS, TextTower
from scorer.optim import fit
from scorer.tokens import encode

BATCH = 192


def train_text(
    tower: TextTower, tokenizer: Any, phrases: list[str], wanted_ND: torch.Tensor, *, steps: int, seed: int
) -> float:
    draw = torch.Generator().manual_seed(seed)
    ids = encode(tokenizer, phrases, MAX_TEXT_TOKENS)
    lengths = (ids != 0).sum(dim=1)
    tower.train()

    def loss_of_step(_: int) -> torch.Tensor:
        rows = torch.randint(len(phrases), (BATCH,), generator=draw)
        got = fn.normalize(tower(ids[rows][:, : int(lengths[rows].max())]).float(), dim=-1)
        return imitation_loss(got, wanted_ND[rows])

    loss = fit("text", tower.parameters(), loss_of_step, steps=steps, peak_rate=1e-3)
    tower.eval()
    return loss


def imitation_loss(got_BD: torch.Tensor, wanted_BD: torch.Tensor) -> torch.Tensor:
    """Cosine per phrase, similarity matrix, and which phrase is which; both inputs of unit length."""
    cosine = 1.0 - (got_BD * wanted_BD).sum(dim=1).mean()
    matrix = fn.mse_loss(got_BD @ got_BD.T, wanted_BD @ wanted_BD.T)
    which = fn.cross_entropy(got_BD @ wanted_BD.T / 0.05, torch.arange(len(got_BD)))
    return cosine + 10.0 * matrix + 0.2 * which
