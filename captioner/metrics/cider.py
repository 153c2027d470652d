"""CIDEr-D, the number that captioning papers (AutoCap's, too) print under the name "CIDEr".

coco-caption has two codes: plain CIDEr (Vedantam et al. 2015, eq. 1-3: a cosine of stemmed n-grams) and CIDEr-D, the
same cosine with each n-gram's weight clipped to the reference's, times a Gaussian of the difference in length, times
10, unstemmed. Its package `cider` computes CIDEr-D, though it calls it CIDEr; this is the same formula.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from captioner.metrics.ngrams import MAX_N, Corpus, Tokens, read_corpus

SIGMA = 6.0


def cider_d(candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> np.ndarray:
    """(clips,) float64, 0 to 10; their mean is the corpus's CIDEr-D (papers print it times 100).

    `references[k]` are those of `candidates[k]`, at least one. The inverse document frequencies are those of all
    `references` given: a score holds for its set of clips only. Of a single clip they are all 0, and so is its score.
    ValueError as in read_corpus.
    """
    return cider_d_of(read_corpus(candidates, references))


def cider_d_of(corpus: Corpus) -> np.ndarray:
    references = corpus.clip_of_reference.size
    cosines = np.zeros(references)
    for n in range(1, MAX_N + 1):
        cosines += _clipped_cosine(corpus, n)
    # Lengths are counted in bigrams, as coco-caption does: one fewer than the tokens.
    bigrams = np.maximum(corpus.lengths - 1, 0)
    delta = bigrams[corpus.clip_of_reference] - bigrams[corpus.clips :]
    cosines *= np.exp(-(delta.astype(np.float64) ** 2) / (2 * SIGMA**2)) / MAX_N
    per_clip = np.bincount(corpus.clip_of_reference, cosines, corpus.clips)
    scores: np.ndarray = 10 * per_clip / np.bincount(corpus.clip_of_reference, minlength=corpus.clips)
    return scores


def _clipped_cosine(corpus: Corpus, n: int) -> np.ndarray:
    """(R,) for each reference, with the candidate of its clip."""
    said, referred = corpus.split(n)
    kinds = max(said.kinds, 1)
    clip_of_entry = corpus.clip_of_reference[referred.caption]
    wanted = clip_of_entry * kinds + referred.gram
    of_clip = np.sort(wanted)  # an n-gram of several references of a clip is one document's
    clips_with = np.bincount(of_clip[np.diff(of_clip, prepend=-1) > 0] % kinds, minlength=kinds)
    idf = np.log(corpus.clips) - np.log(np.maximum(clips_with, 1))
    w_said, w_referred = said.times * idf[said.gram], referred.times * idf[referred.gram]

    # The candidate's weight of each of the references' n-grams; its entries are sorted by (clip, n-gram).
    keys = said.caption * kinds + said.gram
    at = np.searchsorted(keys, wanted)
    found = np.zeros(wanted.size, dtype=bool)
    found[at < keys.size] = keys[at[at < keys.size]] == wanted[at < keys.size]
    shared = np.zeros(wanted.size)
    shared[found] = np.minimum(w_said[at[found]], w_referred[found]) * w_referred[found]

    references = corpus.clip_of_reference.size
    dot = np.bincount(referred.caption, shared, references)
    norm_said = np.sqrt(np.bincount(said.caption, w_said**2, corpus.clips))[corpus.clip_of_reference]
    norm_referred = np.sqrt(np.bincount(referred.caption, w_referred**2, references))
    norms = norm_said * norm_referred
    cosines: np.ndarray = np.divide(dot, norms, out=np.zeros(references), where=norms > 0)
    return cosines
