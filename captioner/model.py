"""The small AutoCap: what the frozen audio tower heard, a namer of it, and a small BART that makes a sentence.

The namer weighs some 600 names ("a dog barking") by what the tower's tokens and classes say of the whole clip.
BART's encoder reads one sequence: 1 CLAP token, 16 audio tokens of 640 ms, the 8 likeliest names and up to 48 text
tokens, always 73 long, the absent ones masked: a clip's numbers are the same whatever else is in the batch.

Shapes: B clips, T = 63 tokens of the tower, A = 16 audio tokens, S = 1545 numbers that sum a clip up, C = 521 classes,
K names, D = 384, L = 48 text tokens, W = 256 model width.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import nn

from captioner.bart import Bart, BartSizes
from captioner.prompt import BOS, EOS, PAD
from scorer.embedded import EmbeddedScorer
from scorer.model import CLASSES, DIM, SILENCE_CLASS, TOKEN_DIM, TOKENS_PER_HOP, TOKENS_PER_PATCH

WIDTH = 256
AUDIO_TOKENS = 16
SUMMARY = 2 * TOKEN_DIM + CLASSES
NAMES_READ = 8
NAMER_WIDTH = 512
TEXT_TOKENS = 48
CAPTION_TOKENS = 40


class Sounding(NamedTuple):
    """A clip as captioner and namer read it."""

    tokens: torch.Tensor  # (B, A, 512)
    summary: torch.Tensor  # (B, S): mean and maximum of the tower's tokens in pairs, log loudness of its classes


class Listener(nn.Module):
    """(B, T, 512) tokens of the tower -> Sounding. The class head is the tower's own and is not trained here."""

    def __init__(self) -> None:
        super().__init__()
        self.classify = nn.Linear(TOKEN_DIM, CLASSES).requires_grad_(False)

    @classmethod
    def of(cls, scorer: EmbeddedScorer) -> Listener:
        """With the class head of this scorer's audio tower."""
        made = cls()
        made.classify.load_state_dict(scorer.class_head())
        return made.eval()

    def forward(self, tokens_BTC: torch.Tensor) -> Sounding:
        pairs = averaged(tokens_BTC, 2)
        patches = nn.functional.avg_pool1d(tokens_BTC.transpose(1, 2), TOKENS_PER_PATCH, TOKENS_PER_HOP)
        loud = loudness(self.classify(patches.transpose(1, 2)).sigmoid())
        return Sounding(averaged(pairs, 2), torch.cat([pairs.mean(dim=1), pairs.amax(dim=1), (loud + 1e-3).log()], 1))


def averaged(tokens_BTC: torch.Tensor, size: int) -> torch.Tensor:
    """Each `size` neighbours as one; the last one may be of fewer."""
    return nn.functional.avg_pool1d(tokens_BTC.transpose(1, 2), size, ceil_mode=True).transpose(1, 2)


def loudness(probabilities_BPC: torch.Tensor) -> torch.Tensor:
    """How much of each class there is at its loudest; silence is not heard."""
    out = probabilities_BPC.pow(4).mean(dim=1).pow(0.25)
    out[:, SILENCE_CLASS] = 0.0
    return out


class Namer(nn.Module):
    """(B, S) and the CLAP embeddings (B, D) -> (B, K) log probabilities of the names."""

    def __init__(self, names: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(SUMMARY + DIM, affine=False)
        self.layers = nn.Sequential(
            nn.Dropout(0.2),
            nn.Linear(SUMMARY + DIM, NAMER_WIDTH),
            nn.GELU(),
            nn.Dropout(0.3),
            nn.Linear(NAMER_WIDTH, names),
        )

    def forward(self, summary_BS: torch.Tensor, clap_BD: torch.Tensor, noise: float = 0.0) -> torch.Tensor:
        """With `noise`, in standard deviations of the inputs, it is as unsure as of sounds it never heard."""
        seen = self.norm(torch.cat([summary_BS, clap_BD], dim=1))
        out: torch.Tensor = self.layers(seen + noise * torch.randn_like(seen) if noise else seen).log_softmax(dim=1)
        return out


class SmallCaptioner(nn.Module):
    """Listener, namer, projections into BART's width, and BART."""

    def __init__(self, vocabulary: int, names: int, *, to_train: bool = False) -> None:
        """`to_train`: with transformers' BART, which drops out and begins as BART does; else with ours, to speak."""
        super().__init__()
        self.listener = Listener()
        self.namer = Namer(names)
        self.bart: Any = bart_to_train(vocabulary) if to_train else Bart(sizes(vocabulary))
        self.clap = nn.Linear(DIM, WIDTH)
        self.audio = nn.Sequential(nn.LayerNorm(TOKEN_DIM), nn.Linear(TOKEN_DIM, WIDTH))
        self.name = nn.Embedding(names, WIDTH)
        self.likelihood = nn.Linear(1, WIDTH)
        self.kind = nn.Parameter(torch.zeros(4, WIDTH))  # CLAP, audio, name, text

    def encoder_input(
        self, tokens_BAC: torch.Tensor, clap_BD: torch.Tensor, names_BK: torch.Tensor, text_BL: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, 1 + A + 8 + L, W) inputs and their mask; `names_BK` are the namer's log probabilities."""
        clap = self.clap(clap_BD * DIM**0.5)[:, None] + self.kind[0]
        audio = self.audio(tokens_BAC) + self.kind[1]
        likely, which = names_BK.topk(NAMES_READ, dim=1)
        names = self.name(which) * likely[..., None].exp().sqrt() + self.likelihood(likely[..., None]) + self.kind[2]
        text = self.bart.get_input_embeddings()(text_BL) + self.kind[3]
        heard = torch.ones(len(text_BL), 1 + AUDIO_TOKENS + NAMES_READ, dtype=torch.long, device=text_BL.device)
        return torch.cat([clap, audio, names, text], dim=1), torch.cat([heard, (text_BL != PAD).long()], dim=1)

    def loss(
        self,
        tokens_BAC: torch.Tensor,
        clap_BD: torch.Tensor,
        names_BK: torch.Tensor,
        text_BL: torch.Tensor,
        caption_BL: torch.Tensor,
    ) -> torch.Tensor:
        inputs, mask = self.encoder_input(tokens_BAC, clap_BD, names_BK, text_BL)
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


def sizes(vocabulary: int) -> BartSizes:
    return BartSizes(vocabulary=vocabulary, width=WIDTH, layers=2, inner=3 * WIDTH, heads=4, positions=128)


def bart_to_train(vocabulary: int) -> Any:
    """transformers' BART of the same sizes, freshly drawn."""
    from transformers import BartConfig, BartForConditionalGeneration

    same = sizes(vocabulary)
    return BartForConditionalGeneration(
        BartConfig(
            vocab_size=vocabulary,
            d_model=same.width,
            encoder_layers=same.layers,
            decoder_layers=same.layers,
            encoder_ffn_dim=same.inner,
            decoder_ffn_dim=same.inner,
            encoder_attention_heads=same.heads,
            decoder_attention_heads=same.heads,
            max_position_embeddings=same.positions,
            pad_token_id=PAD,
            bos_token_id=BOS,
            eos_token_id=EOS,
            decoder_start_token_id=BOS,
            forced_eos_token_id=EOS,
            dropout=0.1,
            init_std=0.06,  # at this width; with BART's own 0.02 it learns to listen only after hundreds of steps
            tie_word_embeddings=True,
            attn_implementation="eager",  # on a CPU, with sequences this short, faster to train
        )
    )
