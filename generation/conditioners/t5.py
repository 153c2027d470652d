"""The encoder of a T5 (FLAN-T5 for the published models): the mean of its last layer over a text's tokens.

The reference's mean goes over padding too, so that a prompt's vector depends on the longest prompt beside it. Here it
goes over the tokens that are there (`pooling="tokens"`); `"padded"` gives the reference's. For a prompt on its own the
two are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from generation.conditioners.base import ConditionerError, Reader
from scorer.clap import hash_weights
from scorer.load import ScorerError

Pooling = Literal["tokens", "padded"]
Precision = Literal["float32", "bfloat16"]

#: Tokens of one text, the closing one included, as the reference cuts it.
MAX_TOKENS = 128
#: Texts are padded to the first of these that holds them, and go through in batches of one size: then nothing of a
#: text's vector, not even rounding, follows from its neighbours.
LENGTHS = (16, 32, 64, MAX_TOKENS)
CPU_BATCH, GPU_BATCH = 8, 64


class T5Text(Reader):
    """See generation/conditioners/base.py. `net` is a T5EncoderModel, `tokenizer` one of transformers."""

    def __init__(
        self,
        net: Any,
        tokenizer: Any,
        *,
        name: str,
        weights_sha256: str,
        device: str = "cpu",
        pooling: Pooling = "tokens",
        precision: Precision = "float32",
    ) -> None:
        self.name = name + ("+padded" if pooling == "padded" else "") + ("+bf16" if precision == "bfloat16" else "")
        self.weights_sha256, self.width = weights_sha256, int(net.config.d_model)
        self.independent = pooling == "tokens"
        self.device, self._pooling, self._precision = device, pooling, precision
        self._net, self._tokenizer = net.eval().requires_grad_(False).to(device), tokenizer
        self._batch = CPU_BATCH if device == "cpu" else GPU_BATCH
        self._pad = int(net.config.pad_token_id)

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> np.ndarray:
        out = np.zeros((len(texts), self.width), dtype=np.float32)
        ids = [self._tokenizer(text, truncation=True, max_length=MAX_TOKENS)["input_ids"] for text in texts]
        for rows, size, length in self._batches(ids):
            out[rows] = self._embed_ids([ids[row] for row in rows], size, length)[: len(rows)]
        return out

    def _batches(self, ids: Sequence[list[int]]) -> Iterator[tuple[list[int], int, int]]:
        """Which texts go through together, as how many rows of how many tokens."""
        if self._pooling == "padded":
            if ids:
                yield list(range(len(ids))), len(ids), max(map(len, ids))
            return
        lengths = [next(length for length in LENGTHS if length >= len(one)) for one in ids]
        for length in LENGTHS:
            rows = [row for row, wanted in enumerate(lengths) if wanted == length]
            for first in range(0, len(rows), self._batch):
                yield rows[first : first + self._batch], self._batch, length

    def _embed_ids(self, ids: Sequence[list[int]], size: int, length: int) -> np.ndarray:
        tokens = torch.full((size, length), self._pad)
        mask = torch.zeros(size, length)
        mask[:, 0] = 1  # a row without a text means nothing, but attends to something
        for row, one in enumerate(ids):
            tokens[row, : len(one)] = torch.tensor(one)
            mask[row, : len(one)] = 1
        mask = mask.to(self.device)
        with torch.autocast(self.device.split(":")[0], torch.bfloat16, enabled=self._precision == "bfloat16"):
            hidden_BLE = self._net(input_ids=tokens.to(self.device), attention_mask=mask).last_hidden_state.float()
        if self._pooling == "padded":
            mean = hidden_BLE.mean(dim=1)
        else:
            mean = (hidden_BLE * mask[:, :, None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        return np.asarray(mean.cpu().numpy(), dtype=np.float32)


def load_t5(
    model: str, device: str = "cpu", *, pooling: Pooling = "tokens", precision: Precision = "float32"
) -> T5Text:
    """From a folder or the Hub, for instance google/flan-t5-large. ConditionerError when there is none."""
    from transformers import AutoTokenizer, T5EncoderModel

    try:
        net: Any = T5EncoderModel.from_pretrained(model)
        tokenizer: Any = AutoTokenizer.from_pretrained(model)
        sha256 = hash_weights(model)
    except (OSError, ValueError, ScorerError) as error:
        raise ConditionerError(
            f"no T5 under {model!r}: give a folder or Hub name with config, weights and tokenizer ({error})"
        ) from error
    name = Path(model).name if Path(model).is_dir() else model
    return T5Text(net, tokenizer, name=name, weights_sha256=sha256, device=device, pooling=pooling, precision=precision)
