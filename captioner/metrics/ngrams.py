"""All n-grams of many captions as numbers, counted in one go: what BLEU and CIDEr-D are made of.

A caption is a list of tokens. Nothing loops over n-grams in Python, so a hundred thousand captions take seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Tokens = Sequence[str]
MAX_N = 4


class Grams(NamedTuple):
    """One n: which caption has which n-gram how often. Sorted by caption, then n-gram; each pair once."""

    caption: np.ndarray  # (E,) int64, the caption's number
    gram: np.ndarray  # (E,) int64, 0 to `kinds` - 1
    times: np.ndarray  # (E,) int64, at least 1
    kinds: int


def count_ngrams(captions: Sequence[Tokens]) -> list[Grams]:
    """For n = 1 to MAX_N, the n-grams of all captions under common numbers."""
    vocabulary: dict[str, int] = {}
    words = np.fromiter(
        (vocabulary.setdefault(word, len(vocabulary)) for tokens in captions for word in tokens), dtype=np.int64
    )
    lengths = lengths_of(captions)
    owner = np.repeat(np.arange(len(captions)), lengths)
    left = np.repeat(lengths, lengths) - _places(lengths)  # tokens from here to the caption's end
    # An n-gram is the (n-1)-gram at its place and the word after it: a pair of numbers, numbered anew for each n.
    grams, places, out = words, np.arange(words.size), []
    for n in range(1, MAX_N + 1):
        if n > 1:
            fits = left[places] >= n
            places = places[fits]
            pairs = grams[fits] * max(len(vocabulary), 1) + words[places + n - 1]
            grams = np.unique(pairs, return_inverse=True)[1]
        kinds = int(grams.max(initial=-1)) + 1
        keys, times = np.unique(owner[places] * max(kinds, 1) + grams, return_counts=True)
        out.append(Grams(keys // max(kinds, 1), keys % max(kinds, 1), times, kinds))
    return out


def lengths_of(captions: Sequence[Tokens]) -> np.ndarray:
    """(captions,) int64."""
    return np.fromiter((len(tokens) for tokens in captions), dtype=np.int64, count=len(captions))


def _places(lengths: np.ndarray) -> np.ndarray:
    """0, 1, ... within each caption, all captions end to end."""
    starts = np.cumsum(lengths) - lengths
    places: np.ndarray = np.arange(int(lengths.sum())) - np.repeat(starts, lengths)
    return places


class Corpus(NamedTuple):
    """Candidates and references, flat, counted together: caption k < clips is the candidate of clip k."""

    clips: int
    clip_of_reference: np.ndarray  # (R,) int64
    lengths: np.ndarray  # (clips + R,) int64, in tokens
    grams: list[Grams]

    def split(self, n: int) -> tuple[Grams, Grams]:
        """The candidates' n-grams, and the references' with `caption` numbering references from 0."""
        grams = self.grams[n - 1]
        cut = int(np.searchsorted(grams.caption, self.clips))
        mine = Grams(grams.caption[:cut], grams.gram[:cut], grams.times[:cut], grams.kinds)
        theirs = Grams(grams.caption[cut:] - self.clips, grams.gram[cut:], grams.times[cut:], grams.kinds)
        return mine, theirs


def read_corpus(candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> Corpus:
    """Count everything. ValueError when there is no clip, the lists differ in length, or a clip has no reference."""
    if not candidates:
        raise ValueError("there is no caption to measure")
    if len(candidates) != len(references):
        raise ValueError(f"{len(candidates)} captions but the references of {len(references)} clips")
    numbers = np.fromiter((len(some) for some in references), dtype=np.int64, count=len(references))
    if not numbers.all():
        raise ValueError(f"clip {int(np.argmin(numbers))} (counted from 0) has no reference")
    flat = [*candidates, *(tokens for some in references for tokens in some)]
    clip_of_reference = np.repeat(np.arange(len(candidates)), numbers)
    return Corpus(len(candidates), clip_of_reference, lengths_of(flat), count_ngrams(flat))
