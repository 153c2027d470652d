"""The small models' own byte-level BPE: made from their training text, kept as one tokenizer.json."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch


def make_tokenizer(texts: Iterable[str], vocabulary: int, special: Sequence[str] = ("<pad>",)) -> Any:
    """A lower-casing byte-level BPE; the special tokens take the first ids, `<pad>` always 0."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(), normalizers.Strip()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def load_tokenizer(path: Path) -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(path))


def encode(tokenizer: Any, texts: Sequence[str], limit: int) -> torch.Tensor:
    """(B, L) ids padded with 0 to the longest; texts longer than `limit` tokens are cut."""
    rows = [e.ids[:limit] for e in tokenizer.encode_batch(list(texts))]
    out = torch.zeros(len(rows), max([1, *map(len, rows)]), dtype=torch.long)
    for k, row in enumerate(rows):
        out[k, : len(row)] = torch.tensor(row, dtype=torch.long)
    return out
