"""Held-out clips: the loss as it is trained, and CIDEr of what is said, over all workers' shares of the clips."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch

from captioner.autocap.beam import beam_search
from captioner.autocap.decoder import Decoder
from captioner.autocap.net import BOS, EOS, PAD
from captioner.autocap.train_clap import ClapTokens
from captioner.autocap.train_data import held_out
from captioner.autocap.train_lesson import Lesson
from captioner.autocap.train_recipe import TrainRecipe
from captioner.metrics.cider import cider_d
from captioner.metrics.tokens import tokenize
from training.crew import Crew
from training.shards import Shards

log = logging.getLogger(__name__)

#: Captions shown beside their references.
SHOWN = 8


@dataclass(frozen=True)
class Measurer:
    shards: Shards
    recipe: TrainRecipe
    crew: Crew
    clap: ClapTokens | None

    @torch.no_grad()
    def __call__(self, lesson: Lesson) -> tuple[dict[str, float], list[tuple[str, str]]]:
        """(measures, (said, reference) samples); the same measures on every worker. `lesson` is in eval mode."""
        decoder = Decoder(lesson.net.decoder)
        loss_sum, tokens = 0.0, 0
        said: list[tuple[str, tuple[str, ...]]] = []
        skipped: Counter[str] = Counter()
        for clips in held_out(
            self.shards, self.recipe, rank=self.crew.rank, world=self.crew.world,
            on_skip=lambda reason: skipped.update([reason]),
        ):  # fmt: skip
            vectors = None if self.clap is None else self.clap(clips)
            batch = lesson.prepare(clips, vectors, self.crew.device)
            loss_sum += float(lesson(batch))
            tokens += batch.tokens
            states, mask = lesson.states(batch)
            with torch.autocast(self.crew.device.type, enabled=False):
                ids, _ = beam_search(decoder, states.float(), mask, self.recipe.validation.beams)
            said += zip(texts(lesson.tokenizer, ids), (clip.captions for clip in clips), strict=True)
        if skipped:
            log.warning("validation: skipped %s", dict(skipped))
        all_loss, all_tokens = self.crew.summed(loss_sum, tokens)
        everybody = [pair for part in self.crew.gathered(said) for pair in part]
        measured = {"loss": all_loss / max(all_tokens, 1), "clips": float(len(everybody))}
        return measured | cider_of(everybody), [(text, captions[0]) for text, captions in everybody[:SHOWN]]


def texts(tokenizer: Any, ids_BT: torch.Tensor) -> list[str]:
    rows = [[i for i in row if i not in (PAD, BOS, EOS)] for row in ids_BT.tolist()]
    return [tokenizer.decode(row, clean_up_tokenization_spaces=False).strip() for row in rows]


def cider_of(said: list[tuple[str, tuple[str, ...]]]) -> dict[str, float]:
    """CIDEr-D, 1.0 = the papers' 100; and how many captions differ, which falls when a model says one thing of all."""
    if not said:
        return {}
    candidates = [tokenize(text) for text, _ in said]
    references = [[tokenize(caption) for caption in captions] for _, captions in said]
    return {"cider": float(cider_d(candidates, references).mean()), "different": float(len({text for text, _ in said}))}
