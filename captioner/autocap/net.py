"""The AutoCap network: from a log-mel spectrogram, a CLAP embedding and metadata ids to what BART's decoder reads.

    mel ─HTS-AT─► 32 tokens ─each 32 times─► 1024 ─+ positions─► Q-Former ─► 256 ┐
    CLAP embedding ─► 1 ─────────────────────────────────────────────────────────┤► BART's encoder ─► decoder
    <HQVC> visual caption </HQVC> <TITLE> title </TITLE> ids ────────────────────┘

Parameters carry the names of the published checkpoint. Shapes: B clips, T mel frames, F mel bands, C the tower's
width, D BART's width, S = 1 + 1 + 256 + metadata + 1 positions of BART's encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from captioner.autocap.qformer import QFormer
from captioner.autocap.shape import AutoCapShape
from scorer.htsat import Htsat

BOS, PAD, EOS = 0, 1, 2
#: How often each of the tower's tokens stands in the Q-Former's input, as published.
REPEATS = 32


class AutoCapNet(nn.Module):
    """`config`: a BartConfig. `repeats`: 32 as published, or 1 for weights trained so (paper, Table G7)."""

    def __init__(self, shape: AutoCapShape, config: Any, repeats: int = REPEATS) -> None:
        super().__init__()
        from transformers import BartForConditionalGeneration

        self.shape, self.repeats = shape, repeats
        audio_width, width = shape.tower.out_width, int(config.d_model)
        self.encoder = nn.ModuleDict({"audio_enc": Htsat(shape.tower)})
        self.enc_to_dec_proj = nn.Linear(audio_width, width)
        self.audio_position_embedding = nn.Embedding(shape.positions, width)
        self.audio_Qfromer_layernorm_embedding = nn.LayerNorm(width)  # the published name, its slip included
        self.audio_query_tokens = nn.Parameter(torch.zeros(1, shape.queries, shape.query_width))
        self.audio_Qformer = QFormer(shape, width)
        self.audio_qformer_proj = nn.Linear(shape.query_width, width)
        if shape.clap_dim:
            self.clap_proj = nn.Linear(shape.clap_dim, width)
            self.clap_layernorm = nn.LayerNorm(width)
        self.special_tokens_embed = nn.ModuleDict({"special_token_embed": nn.Embedding(shape.special_tokens, width)})
        self.decoder: Any = BartForConditionalGeneration(config)

    @property
    def tower(self) -> Htsat:
        return self.encoder["audio_enc"]  # type: ignore[return-value]

    @property
    def words(self) -> nn.Embedding:
        """BART's word table; ids beyond it are the special tokens'."""
        return self.decoder.model.shared  # type: ignore[no-any-return]

    def hear(self, mel_BTF: torch.Tensor) -> torch.Tensor:
        """(B, T, F) dB -> (B, 32, C): one token per 32 frames, the mean of the two halves of the spectrum."""
        grid_BKC = self.tower(mel_BTF[:, None])
        folds = self.shape.tower.folds
        side = round(grid_BKC.shape[1] ** 0.5)
        blocks = grid_BKC.unflatten(1, (folds, side // folds, side))  # (B, block of time, band, time, C)
        return torch.as_tensor(blocks.mean(dim=2).flatten(1, 2))

    def query(self, heard_BKC: torch.Tensor) -> torch.Tensor:
        """(B, 32, C) -> (B, 256, D): what BART reads of the sound."""
        told = self.enc_to_dec_proj(heard_BKC).repeat_interleave(self.repeats, dim=1)
        told = told + self.audio_position_embedding.weight[: told.shape[1]]
        told = self.audio_Qfromer_layernorm_embedding(told)
        return torch.as_tensor(self.audio_qformer_proj(self.audio_Qformer(self.audio_query_tokens, told)))

    def clap_token(self, clap_BE: torch.Tensor) -> torch.Tensor:
        """(B, E) unit vectors -> (B, 1, D)."""
        return torch.as_tensor(self.clap_layernorm(self.clap_proj(clap_BE)))[:, None]

    def embed_ids(self, ids_BL: torch.Tensor) -> torch.Tensor:
        """(B, L) ids of words and special tokens -> (B, L, D)."""
        vocabulary = self.words.num_embeddings
        special: nn.Embedding = self.special_tokens_embed["special_token_embed"]  # type: ignore[assignment]
        is_special = ids_BL >= vocabulary
        words = self.words(ids_BL.clamp(max=vocabulary - 1))
        return torch.where(is_special[..., None], special((ids_BL - vocabulary).clamp(min=0)), words)

    def bart_input(
        self,
        audio_BQD: torch.Tensor,
        metadata: Sequence[Sequence[int]] | None,
        clap_B1D: torch.Tensor | None = None,
        *,
        length: int = 0,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What BART's encoder reads (B, S, D), and its mask (B, S); metadata ids without BOS and EOS.

        Metadata is filled up to the longest, or to `length` if that is more; filling is masked. None: not even an end.
        """
        parts = [self.words.weight[BOS].expand(len(audio_BQD), 1, -1), audio_BQD]
        if clap_B1D is not None:
            parts.insert(0, clap_B1D.to(audio_BQD.dtype))
        mask = torch.ones(len(audio_BQD), sum(part.shape[1] for part in parts), dtype=torch.long)
        if metadata is not None:
            ids, told = ended(metadata, length)
            parts.append(self.embed_ids(ids.to(audio_BQD.device)))
            mask = torch.cat([mask, told], dim=1)
        return torch.cat(parts, dim=1), mask.to(audio_BQD.device)

    def understand(self, inputs_BSD: torch.Tensor, mask_BS: torch.Tensor | None) -> torch.Tensor:
        """BART's encoder: (B, S, D) -> (B, S, D). No mask: nothing is filled up."""
        return torch.as_tensor(
            self.decoder.get_encoder()(inputs_embeds=inputs_BSD, attention_mask=mask_BS).last_hidden_state
        )

    def logits(self, states_BSD: torch.Tensor, mask_BS: torch.Tensor, ids_BL: torch.Tensor) -> torch.Tensor:
        """(B, L, vocabulary) for decoder inputs (B, L): teacher forcing."""
        from transformers.modeling_outputs import BaseModelOutput

        return torch.as_tensor(
            self.decoder(
                encoder_outputs=BaseModelOutput(states_BSD),
                attention_mask=mask_BS,
                decoder_input_ids=ids_BL,
                use_cache=False,
            ).logits
        )


def ended(metadata: Sequence[Sequence[int]], length: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids with their end, filled up to the longest or to `length`, and their mask: both (B, L)."""
    size = max(length, max(len(ids) for ids in metadata) + 1)
    ids = torch.full((len(metadata), size), PAD)
    mask = torch.zeros(len(metadata), size, dtype=torch.long)
    for row, one in enumerate(metadata):
        ids[row, : len(one) + 1] = torch.tensor([*one, EOS])
        mask[row, : len(one) + 1] = 1
    return ids, mask
