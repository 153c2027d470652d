"""BLEU-1 to BLEU-4 of a corpus (Papineni et al. 2002), as coco-caption counts them.

Clipped n-gram precision over all captions together, geometric mean of 1..n, brevity penalty against the reference whose
length is closest (of two equally close ones the shorter). It is no mean over clips: what a clip adds are counts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from captioner.metrics.ngrams import MAX_N, Corpus, Tokens, read_corpus

#: Keep a corpus without a single match off log(0), with coco-caption's values.
_SMALL, _TINY = 1e-9, 1e-15

#: Columns of `bleu_counts`: matches of n = 1..4, n-grams said of n = 1..4, tokens said, the closest reference's.
COLUMNS = 2 * MAX_N + 2


def bleu(candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> np.ndarray:
    """(4,) float64, BLEU-1 to BLEU-4 of the corpus, 0 to 1. ValueError as in read_corpus."""
    return bleu_from(bleu_counts(read_corpus(candidates, references)).sum(axis=0))


def bleu_counts(corpus: Corpus) -> np.ndarray:
    """(clips, COLUMNS) float64: what each clip adds to the corpus's sums."""
    said = corpus.lengths[: corpus.clips]
    matches = [_matches(corpus, n) for n in range(1, MAX_N + 1)]
    guesses = [np.maximum(said - n + 1, 0) for n in range(1, MAX_N + 1)]
    return np.stack([*matches, *guesses, said, _closest(corpus)], axis=1).astype(np.float64)


def bleu_from(sums: np.ndarray) -> np.ndarray:
    """(..., 4) from sums of bleu_counts' rows, (..., COLUMNS)."""
    matches, guesses = sums[..., :MAX_N], sums[..., MAX_N : 2 * MAX_N]
    precision = np.cumprod((matches + _TINY) / (guesses + _SMALL), axis=-1)
    ratio = (sums[..., -2] + _TINY) / (sums[..., -1] + _SMALL)
    brevity = np.exp(np.minimum(0.0, 1 - 1 / ratio))
    scores: np.ndarray = precision ** (1 / np.arange(1, MAX_N + 1)) * brevity[..., None]
    return scores


def _matches(corpus: Corpus, n: int) -> np.ndarray:
    """(clips,): the candidate's n-grams, each as often as the reference that has it most often."""
    said, referred = corpus.split(n)
    keys = said.caption * max(said.kinds, 1) + said.gram
    wanted = corpus.clip_of_reference[referred.caption] * max(said.kinds, 1) + referred.gram
    at = np.searchsorted(keys, wanted)
    here = at < keys.size
    here[here] = keys[at[here]] == wanted[here]
    most = np.zeros(keys.size, dtype=np.int64)
    np.maximum.at(most, at[here], referred.times[here])
    return np.bincount(said.caption, np.minimum(most, said.times), corpus.clips)


def _closest(corpus: Corpus) -> np.ndarray:
    """(clips,): the length of the reference that is closest to the candidate's."""
    theirs, clip = corpus.lengths[corpus.clips :], corpus.clip_of_reference
    order = np.lexsort((theirs, np.abs(theirs - corpus.lengths[clip]), clip))
    first = np.searchsorted(clip, np.arange(corpus.clips))  # clips' references lie together, and lexsort keeps that
    return theirs[order[first]]
