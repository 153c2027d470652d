"""Beam search as the published captions were made: transformers' search with bart-base's own settings.

At most 30 ids with the leading 2 and the final one, no three ids twice, first id 0, an end forced at the last place,
early stopping, length penalty 1 (`PUBLISHED`; a model of another upbringing has rules of its own). Finished captions
are kept per clip as the best `beams` of all that ended; a clip is done when it has so many. All bookkeeping is on the
device, for all clips at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from captioner.autocap.decoder import Decoder, Memory
from captioner.autocap.net import BOS, EOS, PAD

#: No word of a beam that has none left can win.
NEVER = float("-inf")


@dataclass(frozen=True)
class Rules:
    """How a model speaks. `first`: the ids that every caption begins with; `max_length` counts them and the end."""

    first: tuple[int, ...]
    pad: int
    end: int
    max_length: int
    triples_once: bool


PUBLISHED = Rules(first=(2, BOS), pad=PAD, end=EOS, max_length=30, triples_once=True)


@dataclass
class Ended:
    """The best captions so far of each clip: ids (B, beams, T), sums of log-probabilities, scores, lengths."""

    ids: torch.Tensor
    sums: torch.Tensor
    scores: torch.Tensor
    lengths: torch.Tensor
    count: torch.Tensor  # (B,) how many have ended in all

    @classmethod
    def none(cls, clips: int, beams: int, rules: Rules, device: torch.device) -> Ended:
        whole = torch.full((clips, beams, rules.max_length), rules.pad, device=device)
        low = torch.full((clips, beams), NEVER, device=device)
        return cls(whole, low.clone(), low, torch.ones_like(low), torch.zeros(clips, dtype=torch.long, device=device))

    @property
    def done(self) -> torch.Tensor:
        return self.count >= self.ids.shape[1]

    def add(self, ids: torch.Tensor, sums: torch.Tensor, ends: torch.Tensor, length: int) -> None:
        """Captions of `length` generated ids, where `ends` (B, beams) says so and the clip is not done."""
        ends = ends & ~self.done[:, None]
        scores = torch.cat([self.scores, (sums / length).masked_fill(~ends, NEVER)], dim=1)
        self.scores, best = scores.topk(self.ids.shape[1], dim=1)
        self.sums = torch.cat([self.sums, sums], dim=1).gather(1, best)
        self.lengths = torch.cat([self.lengths, torch.full_like(sums, length)], dim=1).gather(1, best)
        whole = torch.cat([self.ids, ids], dim=1)
        self.ids = whole.gather(1, best[..., None].expand(-1, -1, whole.shape[2]))
        self.count = self.count + ends.sum(dim=1)


@torch.inference_mode()
def beam_search(
    decoder: Decoder,
    states_BSD: torch.Tensor,
    mask_BS: torch.Tensor | None,
    beams: int,
    rules: Rules = PUBLISHED,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids (B, max_length), the first ones included, filled up behind the end; and their mean log-probability (B,).

    The mean is over the ids that were chosen, the end included.
    """
    ended = all_beams(decoder, states_BSD, mask_BS, beams, rules=rules)
    # Lengths count all but the start; what was given beside it was not chosen.
    return ended.ids[:, 0], ended.sums[:, 0] / (ended.lengths[:, 0] - (len(rules.first) - 1))


@torch.inference_mode()
def all_beams(
    decoder: Decoder,
    states_BSD: torch.Tensor,
    mask_BS: torch.Tensor | None,
    beams: int,
    *,
    rules: Rules = PUBLISHED,
) -> Ended:
    """The best `beams` captions of each clip, best first."""
    clips, device, given = len(states_BSD), states_BSD.device, len(rules.first)
    memory, logits = decoder.begin(states_BSD, mask_BS, list(rules.first), rules.max_length)
    ids = torch.full((clips, beams, rules.max_length), rules.pad, device=device)
    ids[..., :given] = torch.tensor(rules.first, device=device)
    ended = Ended.none(clips, beams, rules, device)
    # The first choice is among one row a clip: the other beams begin where it ends.
    sums = torch.zeros(clips, 1, device=device)
    for length in range(given, rules.max_length - 1):
        words = torch.log_softmax(logits.float(), dim=-1).view(clips, sums.shape[1], -1)
        if rules.triples_once:
            no_ngram_twice(words, ids[:, : sums.shape[1], :length])
        sums, source, chosen = choose(ended, ids, sums, words, beams, length, rules.end)
        if length == given:
            decoder.spread(memory, beams)
        else:
            follow(decoder, memory, source, length)
        ids = ids.gather(1, source[..., None].expand_as(ids))
        ids[..., length] = chosen
        if rested(ended, length, device):
            break
        if length < rules.max_length - 2:
            logits = decoder.step(memory, chosen.flatten(), length)
    # The last place is an end by force, and costs nothing.
    ids[..., -1] = rules.end
    ended.add(ids, sums, torch.ones_like(sums, dtype=torch.bool), rules.max_length - 1)
    return ended


def choose(
    ended: Ended, ids: torch.Tensor, sums: torch.Tensor, words: torch.Tensor, beams: int, length: int, end: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The 2 x beams best continuations: ends among the best `beams` end, the best `beams` others go on."""
    vocabulary = words.shape[2]
    totals, at = (sums[..., None] + words).flatten(1).topk(2 * beams, dim=1)
    source, chosen = at // vocabulary, at % vocabulary
    ends = chosen == end
    closed = ids.gather(1, source[:, :beams, None].expand(-1, -1, ids.shape[2])).clone()
    closed[..., length] = end
    ended.add(closed, totals[:, :beams], ends[:, :beams], length)
    on = ends.int().argsort(dim=1, stable=True)[:, :beams]
    return totals.gather(1, on), source.gather(1, on), chosen.gather(1, on)


def follow(decoder: Decoder, memory: Memory, source: torch.Tensor, length: int) -> None:
    """Rows remember what the beams that they continue remember; on a CPU nothing is copied if none changed."""
    clips, beams = source.shape
    rows = (source + beams * torch.arange(clips, device=source.device)[:, None]).flatten()
    if rows.device.type != "cpu" or not bool((rows == torch.arange(len(rows))).all()):
        decoder.reorder(memory, rows, length)


def rested(ended: Ended, length: int, device: torch.device) -> bool:
    """Whether every clip is done; a GPU is asked at every fourth id only, since asking makes it wait."""
    return (device.type == "cpu" or length % 4 == 0) and bool(ended.done.all())


def no_ngram_twice(words: torch.Tensor, ids: torch.Tensor) -> None:
    """Takes every word out of (B, beams, V) that would end a triple of ids for the second time."""
    if ids.shape[2] <= 2:
        return
    again = (ids[..., :-2] == ids[..., -2:-1]) & (ids[..., 1:-1] == ids[..., -1:])
    words.scatter_add_(2, ids[..., 2:], torch.where(again, NEVER, 0.0))
