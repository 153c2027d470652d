"""One batch as AutoCap is taught it: from waves, metadata and captions to the loss of each next token.

    lesson = Lesson(net, tokenizer, recipe)
    prepared = lesson.prepare(clips, clap_vectors, device)
    loss_sum = lesson(prepared)                    # / prepared.tokens: the loss

The CLAP token goes through BART's encoder as it does in captioning. The released code joins it behind the encoder in
training and before it in captioning: `clap.position: decoder` does that.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as fn

from captioner.autocap.augment import augmented
from captioner.autocap.frontend import WINDOW_SAMPLES, front_end, level
from captioner.autocap.net import BOS, EOS, PAD, AutoCapNet
from captioner.autocap.prompt import encode, metadata_ids
from captioner.autocap.train_data import Clip
from captioner.autocap.train_recipe import TrainRecipe
from scorer.clap_mel import LogMel

IGNORED = -100


@dataclass(frozen=True)
class Prepared:
    """A batch on the device."""

    waves: torch.Tensor  # (B, 320000), levelled
    clap: torch.Tensor | None  # (B, E)
    metadata: list[list[int]]  # ids without BOS and EOS
    labels: torch.Tensor  # (B, L) BOS … EOS, then IGNORED
    tokens: int  # of the labels


class Lesson(nn.Module):
    """`forward` gives the sum over the tokens, so that batches of unlike length weigh by their tokens."""

    def __init__(self, net: AutoCapNet, tokenizer: Any, recipe: TrainRecipe) -> None:
        super().__init__()
        self.net, self.tokenizer, self.recipe = net, tokenizer, recipe
        self.log_mel = LogMel(front_end())

    def prepare(self, clips: Sequence[Clip], clap: np.ndarray | None, device: torch.device) -> Prepared:
        """`clap`: (B, E) float32, or None for a net without CLAP. Waves are levelled and filled up with zeros."""
        waves = torch.zeros(len(clips), WINDOW_SAMPLES, pin_memory=device.type == "cuda")
        for row, clip in zip(waves.numpy(), clips, strict=True):
            row[: clip.wave.size] = level(clip.wave)
        text, vocabulary = self.recipe.text, self.net.words.num_embeddings
        metadata = [metadata_ids(clip.metadata, self.tokenizer, vocabulary, text.tag_spacing) for clip in clips]
        labels = self.labels([clip.captions[0] for clip in clips])
        return Prepared(
            waves=waves.to(device, non_blocking=True),
            clap=None if clap is None else torch.from_numpy(clap).to(device),
            metadata=metadata,
            labels=labels.to(device),
            tokens=int((labels != IGNORED).sum()),
        )

    def labels(self, captions: Sequence[str]) -> torch.Tensor:
        """(B, L) int64: BOS, the caption's ids cut to fit, EOS."""
        most = self.recipe.text.caption_tokens
        rows = [[BOS, *encode(self.tokenizer, caption)[: most - 2], EOS] for caption in captions]
        out = torch.full((len(rows), max(map(len, rows))), IGNORED)
        for line, row in zip(out, rows, strict=True):
            line[: len(row)] = torch.tensor(row)
        return out

    def forward(self, batch: Prepared) -> torch.Tensor:
        """The loss summed over the batch's tokens, in float32."""
        logits_BLV = self.logits(batch)
        smoothing = self.recipe.augment.label_smoothing
        return fn.cross_entropy(
            logits_BLV.flatten(0, 1).float(),
            batch.labels.flatten(),
            ignore_index=IGNORED,
            label_smoothing=smoothing,
            reduction="sum",
        )

    def logits(self, batch: Prepared) -> torch.Tensor:
        states_BSD, mask_BS = self.states(batch)
        ids_BL = batch.labels.masked_fill(batch.labels == IGNORED, PAD).roll(1, dims=1)
        ids_BL[:, 0] = EOS  # what BART's decoder starts with
        return self.net.logits(states_BSD, mask_BS, ids_BL)

    def states(self, batch: Prepared) -> tuple[torch.Tensor, torch.Tensor]:
        """What the decoder attends to (B, S, D), and its mask (B, S)."""
        net = self.net
        clap_B1D = None if batch.clap is None else net.clap_token(batch.clap)
        early = self.recipe.clap.position == "encoder"
        inputs, mask = net.bart_input(self._audio(batch.waves), batch.metadata, clap_B1D if early else None)
        states = net.understand(self._text_dropped(inputs, batch.metadata), mask)
        if clap_B1D is not None and not early:
            states, mask = torch.cat([clap_B1D.to(states.dtype), states], dim=1), fn.pad(mask, (1, 0), value=1)
        return states, mask

    def _audio(self, waves_BN: torch.Tensor) -> torch.Tensor:
        """(B, Q, D). AutoCapNet.query, with the paper's dropout on the projected tokens."""
        net, augment = self.net, self.recipe.augment
        with torch.autocast(waves_BN.device.type, enabled=False):
            mel_BTF = self.log_mel(waves_BN)
        with augmented(net.tower, augment) if self.training else nullcontext():
            heard_BKC = net.hear(mel_BTF)
        share = augment.audio_dropout if self.training else 0.0
        if share == 0:
            return net.query(heard_BKC)
        told = fn.dropout(net.enc_to_dec_proj(heard_BKC).repeat_interleave(net.repeats, dim=1), share)
        told = net.audio_Qfromer_layernorm_embedding(told + net.audio_position_embedding.weight[: told.shape[1]])
        return torch.as_tensor(net.audio_qformer_proj(net.audio_Qformer(net.audio_query_tokens, told)))

    def _text_dropped(self, inputs_BSD: torch.Tensor, metadata: Sequence[Sequence[int]]) -> torch.Tensor:
        """The same on the metadata's embeddings, which stand last."""
        share = self.recipe.augment.text_dropout if self.training else 0.0
        if share == 0:
            return inputs_BSD
        size = max(len(ids) for ids in metadata) + 1
        return torch.cat([inputs_BSD[:, :-size], fn.dropout(inputs_BSD[:, -size:], share)], dim=1)
