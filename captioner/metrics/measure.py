"""All metrics of one set of clips, captioned in one or several ways (with one beam, with two, ...).

    found = measure({1: captions, 2: captions_of_two_beams}, references)
    found.of[2]["CIDEr-D"]                     # Value(value=0.832, low=0.79, high=0.87)

Values are the papers' divided by 100: a CIDEr-D of 83.2 there is 0.832 here. Intervals are the bootstrap's: clips are
drawn with replacement, and the corpus's value is made anew of their sums (for BLEU, too; CIDEr-D keeps the document
frequencies of all clips).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from captioner.metrics.bleu import COLUMNS, bleu_counts, bleu_from
from captioner.metrics.cider import cider_d_of
from captioner.metrics.java import PROGRAMS, JavaError, meteor, missing, ptb_tokens, spice
from captioner.metrics.ngrams import Tokens, read_corpus
from captioner.metrics.rouge import rouge_l
from captioner.metrics.tokens import tokenize

RESAMPLES = 1000
_BLEU = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4")


class Value(NamedTuple):
    """A metric with its 95 % interval; None where there is none (one clip, or a number that is no sum over clips)."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass
class Measured:
    """`of[way][metric]`, metrics in the order of the papers' tables; `left_out[metric]` says why it is not there."""

    clips: int
    tokenizer: str
    of: dict[int, dict[str, Value]]
    left_out: dict[str, str] = field(default_factory=dict)


@dataclass
class Spoken:
    """One way's captions, as tokens; `means`: metrics whose corpus's value is the mean over clips, (clips,) each."""

    tokens: list[list[str]]
    means: dict[str, np.ndarray] = field(default_factory=dict)
    fixed: dict[str, float] = field(default_factory=dict)


def measure(
    captions: Mapping[int, Sequence[str]],
    references: Sequence[Sequence[str]],
    *,
    java: bool | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    clip_scores: Mapping[str, Mapping[int, np.ndarray]] | None = None,
) -> Measured:
    """`captions[way][k]` and `references[k]` (one or more) belong to clip k.

    `java`: None uses Java's programs where they are found, True raises JavaError where tokenizer or METEOR are not,
    False does without. `clip_scores[name][way]` (clips,) are averaged like the others (CLAP scores, say).
    ValueError when there is no clip, or the lists do not fit together.
    """
    tokenizer, tokens_of = _tokenizer(java)
    ways, theirs = _tokenized(captions, references, tokens_of)
    left_out: dict[str, str] = {}
    if java is not False:
        _with_java(ways, theirs, left_out, must=bool(java))
    else:
        left_out = dict.fromkeys(("METEOR", "SPICE", "SPIDEr"), "Java was not to be used")
    for name, scores in (clip_scores or {}).items():
        for way, spoken in ways.items():
            spoken.means[name] = scores[way]
    of = {way: _values(spoken, theirs, resamples, seed) for way, spoken in ways.items()}
    return Measured(len(theirs), tokenizer, of, left_out)


def _tokenizer(java: bool | None) -> tuple[str, Callable[[Sequence[str]], list[list[str]]]]:
    reason = missing("ptb")
    if java and reason:
        raise JavaError(f"{PROGRAMS['ptb']}: {reason}")
    if java is False or reason:
        return "own", lambda texts: [tokenize(text) for text in texts]
    return "ptb", ptb_tokens


def _tokenized(
    captions: Mapping[int, Sequence[str]],
    references: Sequence[Sequence[str]],
    tokens_of: Callable[[Sequence[str]], list[list[str]]],
) -> tuple[dict[int, Spoken], list[list[list[str]]]]:
    """Each different text once, all in one call."""
    texts = list(dict.fromkeys(text for many in (*captions.values(), *references) for text in many))
    known = dict(zip(texts, tokens_of(texts), strict=True))
    ways = {way: Spoken([known[text] for text in some]) for way, some in captions.items()}
    return ways, [[known[text] for text in some] for some in references]


def _with_java(
    ways: Mapping[int, Spoken], references: Sequence[Sequence[Tokens]], left_out: dict[str, str], *, must: bool
) -> None:
    """METEOR and SPICE of all ways; what cannot be had is named in `left_out`."""
    candidates = [spoken.tokens for spoken in ways.values()]
    why = {"METEOR": missing("meteor"), "SPICE": missing("spice")}
    try:
        if must or why["METEOR"] is None:
            for spoken, (corpus, _) in zip(ways.values(), meteor(candidates, references), strict=True):
                spoken.fixed["METEOR"] = corpus
    except JavaError as error:
        if must:
            raise
        why["METEOR"] = str(error)
    try:
        if why["SPICE"] is None:
            for spoken, scores in zip(ways.values(), spice(candidates, references), strict=True):
                spoken.means["SPICE"] = scores
    except JavaError as error:
        why["SPICE"] = str(error)
    why["SPIDEr"] = why["SPICE"]
    left_out |= {name: reason for name, reason in why.items() if reason is not None}


def _values(spoken: Spoken, references: Sequence[Sequence[Tokens]], resamples: int, seed: int) -> dict[str, Value]:
    corpus = read_corpus(spoken.tokens, references)
    clip_scores = {"ROUGE-L": rouge_l(spoken.tokens, references), "CIDEr-D": cider_d_of(corpus)}
    if "SPICE" in spoken.means:
        clip_scores["SPICE"] = spoken.means["SPICE"]
        clip_scores["SPIDEr"] = (clip_scores["CIDEr-D"] + clip_scores["SPICE"]) / 2
    clip_scores |= {name: scores for name, scores in spoken.means.items() if name not in clip_scores}
    columns = np.column_stack([bleu_counts(corpus), *clip_scores.values()])

    def of_sums(sums: np.ndarray) -> np.ndarray:
        return np.concatenate([bleu_from(sums[..., :COLUMNS]), sums[..., COLUMNS:] / corpus.clips], axis=-1)

    low, high = bootstrap(columns, of_sums, resamples, seed)
    found = of_sums(columns.sum(axis=0))
    names = (*_BLEU, *clip_scores)
    out = {name: _value(*some) for name, *some in zip(names, found, low, high, strict=True)}
    out |= {name: Value(value) for name, value in spoken.fixed.items()}
    out["vocabulary"] = Value(float(len({word for tokens in spoken.tokens for word in tokens})))
    return {name: out[name] for name in sorted(out, key=_place)}


def bootstrap(
    columns: np.ndarray, of_sums: Callable[[np.ndarray], np.ndarray], resamples: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The 2.5 and 97.5 percentiles of `of_sums` over draws of the rows of `columns`, as many as there are rows.

    Of one row, or without resamples, they are NaN. The same seed draws the same clips whatever is measured.
    """
    clips = columns.shape[0]
    if clips < 2 or resamples < 1:
        nothing = np.full_like(of_sums(columns.sum(axis=0)), np.nan)
        return nothing, nothing
    rng = np.random.default_rng(seed)
    sums = np.stack([np.bincount(rng.integers(clips, size=clips), minlength=clips) @ columns for _ in range(resamples)])
    low, high = np.percentile(of_sums(sums), [2.5, 97.5], axis=0)
    return low, high


def _value(value: float, low: float, high: float) -> Value:
    return Value(float(value), None if np.isnan(low) else float(low), None if np.isnan(high) else float(high))


_ORDER = (*_BLEU, "ROUGE-L", "METEOR", "CIDEr-D", "SPICE", "SPIDEr", "vocabulary")


def _place(name: str) -> int:
    return _ORDER.index(name) if name in _ORDER else len(_ORDER)
