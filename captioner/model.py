"""The small AutoCap: what the frozen audio tower heard, the CLAP embedding and the source's words into a small BART.

The encoder reads one sequence: 1 CLAP token, 32 audio tokens of 320 ms (the tower's, two and two averaged)
and up to 48 text tokens, always 81 long, the absent ones masked: a clip's numbers are the same whatever else is in
the batch.

Shapes: B clips, K = 63 tokens of the tower, L = 48 text tokens, W = 256 model width, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from captioner.prompt import BOS, EOS, PAD
from scorer.model import DIM, TOKEN_DIM

WIDTH = 256
TEXT_TOKENS = 48
CAPTION_TOKENS = 40


class SmallCaptioner(nn.Module):
    """Projections into BART's width, and BART."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        from transformers import BartConfig, BartForConditionalGeneration

        config = BartConfig(
            vocab_size=vocabulary,
            d_model=WIDTH,
            encoder_layers=2,
            decoder_layers=2,
            encoder_ffn_dim=3 * WIDTH,
            decoder_ffn_dim=3 * WIDTH,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            max_position_embeddings=128,
            pad_token_id=PAD,
            bos_token_id=BOS,
            eos_token_id=EOS,
            decoder_start_token_id=BOS,
            forced_eos_token_id=EOS,
            dropout=0.1,
            tie_word_embeddings=True,
            attn_implementation="eager",  # on a CPU, with sequences this short, faster to train
        )
        self.bart: Any = BartForConditionalGeneration(config)
        self.clap = nn.Linear(DIM, WIDTH)
        self.audio = nn.Sequential(nn.LayerNorm(TOKEN_DIM), nn.Linear(TOKEN_DIM, WIDTH))
        self.kind = nn.Parameter(torch.zeros(3, WIDTH))  # CLAP, audio, text

    def encoder_input(
        self, tokens_BKC: torch.Tensor, clap_BD: torch.Tensor, text_BL: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, 81, W) inputs and their (B, 81) mask."""
        clap = self.clap(clap_BD * DIM**0.5)[:, None] + self.kind[0]
        pairs = nn.functional.avg_pool1d(tokens_BKC.transpose(1, 2), 2, ceil_mode=True).transpose(1, 2)
        audio = self.audio(pairs) + self.kind[1]
        text = self.bart.get_input_embeddings()(text_BL) + self.kind[2]
        heard = torch.ones(text_BL.shape[0], 1 + pairs.shape[1], dtype=torch.long, device=text_BL.device)
        return torch.cat([clap, audio, text], dim=1), torch.cat([heard, (text_BL != PAD).long()], dim=1)

    def loss(
        self, tokens_BKC: torch.Tensor, clap_BD: torch.Tensor, text_BL: torch.Tensor, caption_BL: torch.Tensor
    ) -> torch.Tensor:
        inputs, mask = self.encoder_input(tokens_BKC, clap_BD, text_BL)
        begin = torch.full_like(caption_BL[:, :1], BOS)
        logits = self.bart(
            inputs_embeds=inputs,
            attention_mask=mask,
            decoder_input_ids=torch.cat([begin, caption_BL[:, :-1]], dim=1),
            use_cache=False,
        ).logits
        return nn.functional.cross_entropy(
            logits.float().flatten(0, 1), caption_BL.flatten(), ignore_index=PAD, label_smoothing=0.05
        )
