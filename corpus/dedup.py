"""Which clips are copies of each other, and which copy stays. Plain arithmetic over columns: no Ray, no audio.

    ranks = keep_order(clips)                       # 0 = the copy that anybody would rather keep
    pairs = candidate_pairs(keys, ranks)
    edges = confirmed(prints_a, prints_b, ...)      # pairs whose fingerprints agree
    kept = keepers(edges, ranks)                    # every dropped clip agrees with the very copy that is kept

No chains: A ~ B and B ~ C do not make A and C one. Clips are taken in keep order; one is dropped when it agrees with
a copy that was kept before it, and is kept otherwise. The result depends on the clips alone, not on who looked at
them in which order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from corpus.fingerprints import REACH, Prints, agree, glimpse

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

#: Of so many clips that share a key all pairs are looked at; of more each with its neighbours and the best ones.
BUCKET = 32
_BEST, _NEIGHBOURS = 4, 8
#: The words beside a shared key of two copies differ in fewer bits than this; one in ten of chance pairs is left.
_WORD_ERRORS = 10

#: Frames of 10 s: what `max_bit_errors` is stated for.
_STATED_FRAMES = 208
#: Overlaps with fewer frames (0.8 s) say nothing.
_LEAST_FRAMES = 10
#: Bits that hardly change (a steady tone, digital silence) agree by chance: they must agree better than that.
_LEAST_KAPPA = 0.3
#: Pairs that differ in more bits than this around their shared key are not looked at further.
_GLIMPSE_ERRORS = 0.40


@dataclass(frozen=True)
class Rules:
    """What makes two clips copies. `max_bit_errors` of an overlap of 10 s; `min_overlap` of the clip that goes."""

    max_bit_errors: float = 0.33
    min_overlap: float = 0.6

    def allowed(self, frames: Ints) -> Floats:
        """Bit errors allowed for an overlap of so many frames: by chance short ones differ less."""
        shorter = 1 / np.sqrt(np.maximum(frames, 1)) - 1 / np.sqrt(_STATED_FRAMES)
        allowed = self.max_bit_errors - 0.6 * np.maximum(shorter, 0)
        return np.asarray(np.where(frames < _LEAST_FRAMES, -1.0, allowed))


@dataclass(frozen=True)
class Edges:
    """Pairs of clips that are copies: `better` stands before `worse` in keep order."""

    better: Ints
    worse: Ints
    similarity: Floats

    @staticmethod
    def of(parts: Sequence[Edges]) -> Edges:
        none = Edges(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
        parts = [none, *parts]
        return Edges(*(np.concatenate([getattr(part, n) for part in parts]) for n in Edges.__annotations__))


@dataclass(frozen=True)
class Pairs:
    """Pairs worth a look. A key of the first lies at frame `place`, the same of the second at `place - lag`."""

    better: Ints
    worse: Ints
    lag: Ints
    place: Ints

    def take(self, some: Ints | Flags | slice) -> Pairs:
        return Pairs(*(getattr(self, n)[some] for n in Pairs.__annotations__))

    @staticmethod
    def of(parts: Sequence[Pairs]) -> Pairs:
        return Pairs(
            *(np.concatenate([np.zeros(0, np.int64), *(getattr(p, n) for p in parts)]) for n in Pairs.__annotations__)
        )


# -- which copy stays


def keep_order(clips: pa.Table) -> Ints:
    """Each clip's place in the order in which copies are kept: 0 is kept before all others.

    Longer (in steps of 0.1 s) before shorter, then less clipped (0.001), wider band (1 kHz), higher sample rate, then
    by clip id. Columns: clip_id, duration_ms, clipping_ratio, bandwidth_hz, sample_rate_hz; null counts as worst.
    """
    table = pa.table(
        {
            "duration": _steps(clips.column("duration_ms"), 100),
            "clipping": _steps(pc.multiply(pc.fill_null(clips.column("clipping_ratio"), 1.0), 1000.0), 1),
            "bandwidth": _steps(clips.column("bandwidth_hz"), 1000),
            "rate": _steps(clips.column("sample_rate_hz"), 1),
            "clip_id": clips.column("clip_id"),
        }
    )
    keys = [("duration", "descending"), ("clipping", "ascending"), ("bandwidth", "descending"), ("rate", "descending")]
    order = pc.sort_indices(table, sort_keys=[*keys, ("clip_id", "ascending")]).to_numpy()
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order))
    return ranks


def _steps(column: pa.ChunkedArray, size: int) -> pa.Array:
    values = pc.fill_null(column, 0).to_numpy()
    return pa.array(np.floor(values / size + 0.5).astype(np.int64))


# -- exact copies


def exact_keepers(hashes: pa.ChunkedArray, ranks: Ints) -> Ints:
    """For each clip the best one with the same hash: itself where it is the best, or has no hash."""
    keeper = np.arange(len(ranks))
    codes = pc.dictionary_encode(hashes.combine_chunks()).indices
    known = np.flatnonzero(codes.is_valid().to_numpy(zero_copy_only=False))
    code = codes.drop_null().to_numpy()
    order = known[np.lexsort((ranks[known], code))]
    code = np.sort(code, kind="stable")
    starts = np.flatnonzero(np.diff(code, prepend=-1))
    keeper[order] = np.repeat(order[starts], np.diff(np.append(starts, len(order))))
    return keeper


# -- near copies: who might be one


@dataclass(frozen=True)
class Keys:
    """Keys of many clips: whose they are, at which frame, and the word of that frame."""

    keys: npt.NDArray[np.uint32]
    words: npt.NDArray[np.uint32]
    clips: Ints
    places: Ints

    def take(self, some: Ints | slice) -> Keys:
        return Keys(*(getattr(self, n)[some] for n in Keys.__annotations__))

    @staticmethod
    def of(parts: Sequence[Keys]) -> Keys:
        return Keys(*(np.concatenate([getattr(part, n) for part in parts]) for n in Keys.__annotations__))


def candidate_pairs(keys: Keys, ranks: Ints) -> Pairs:
    """Pairs of clips that share a key, each pair at each lag once. `ranks[clip]` says which is the better one.

    Sorting finds them: time grows with the number of keys, not of pairs. Of up to `BUCKET` clips that share a key
    every pair is taken. A key that more have says little: they are parted by the first bits of the word beside it, and
    where that does not part them, each is paired with the ones next to it in keep order and with the best few.
    """
    keys = keys.take(np.lexsort((ranks[keys.clips], keys.keys)))
    size = _sizes(keys.keys)
    bits = np.clip(np.ceil(np.log2(size / (BUCKET / 2))), 0, 16).astype(np.uint64) * (size > BUCKET)
    home = (keys.keys.astype(np.uint64) << np.uint64(32)) | (keys.words.astype(np.uint64) >> (np.uint64(32) - bits))
    order = np.argsort(home, kind="stable")
    keys, size = keys.take(order), _sizes(home[order])
    start = np.flatnonzero(np.diff(home[order], prepend=~home[order][:1]))
    start = np.repeat(start, np.diff(np.append(start, len(home))))
    place = np.arange(len(home)) - start
    found = []
    for step in range(1, min(BUCKET, int(size.max(initial=1)))):
        some = np.flatnonzero((place >= step) & ((size <= BUCKET) | (step <= _NEIGHBOURS)))
        found.append(_pairs(keys, some - step, some))
    for best in range(_BEST):
        some = np.flatnonzero((place > best + _NEIGHBOURS) & (size > BUCKET))
        found.append(_pairs(keys, start[some] + best, some))
    return once(Pairs.of(found))


def _sizes(ordered: npt.NDArray[Any]) -> Ints:
    """Of each value of an ordered array how often it is there."""
    starts = np.flatnonzero(np.diff(ordered, prepend=~ordered[:1]))
    counts = np.diff(np.append(starts, len(ordered)))
    return np.repeat(counts, counts)


def _pairs(keys: Keys, first: Ints, second: Ints) -> Pairs:
    likely = np.bitwise_count(keys.words[first] ^ keys.words[second]) <= _WORD_ERRORS
    likely &= keys.clips[first] != keys.clips[second]
    a, b = first[likely], second[likely]
    return Pairs(keys.clips[a], keys.clips[b], keys.places[a] - keys.places[b], keys.places[a])


def once(pairs: Pairs) -> Pairs:
    """Each pair at each lag once, in order of the clips; of its places the first."""
    order = np.lexsort((pairs.place, pairs.lag, pairs.worse, pairs.better))
    pairs = pairs.take(order)
    same = np.ones(len(order), bool)
    for name in ("better", "worse", "lag"):
        column = getattr(pairs, name)
        same[1:] &= column[1:] == column[:-1]
    same[:1] = False
    return pairs.take(~same)


# -- near copies: who is one


def confirmed(rules: Rules, a: Prints, base_a: int, b: Prints, base_b: int, pairs: Pairs) -> Edges:
    """The pairs whose fingerprints agree. The better one's lies in `a` at row `better - base_a`."""
    of_a, of_b = pairs.better - base_a, pairs.worse - base_b
    errors = glimpse(a, of_a, pairs.place, b, of_b, pairs.place - pairs.lag)
    pairs, errors = pairs.take(errors <= _GLIMPSE_ERRORS), errors[errors <= _GLIMPSE_ERRORS]
    pairs = _best_lag(pairs, errors)
    of_a, of_b = pairs.better - base_a, pairs.worse - base_b
    found = agree(a, of_a, b, of_b, pairs.lag)
    overlap = (found.frames + REACH) / (b.frames[of_b] + REACH)
    good = (found.errors <= rules.allowed(found.frames)) & (found.kappa >= _LEAST_KAPPA)
    good &= overlap >= rules.min_overlap
    return Edges(pairs.better[good], pairs.worse[good], 1 - found.errors[good])


def _best_lag(pairs: Pairs, errors: Floats) -> Pairs:
    """Of each pair of clips the lag at which it looked most alike."""
    order = np.lexsort((np.abs(pairs.lag), errors, pairs.worse, pairs.better))
    pairs = pairs.take(order)
    first = np.ones(len(order), bool)
    first[1:] = (pairs.better[1:] != pairs.better[:-1]) | (pairs.worse[1:] != pairs.worse[:-1])
    return pairs.take(first)


# -- the verdict


@dataclass(frozen=True)
class Verdict:
    """Per clip: the kept copy it belongs to (itself if kept), and how similar it is to it (1 for itself)."""

    keeper: Ints
    similarity: Floats


def keepers(edges: Edges, ranks: Ints, exact: Ints) -> Verdict:
    """Who is kept. `exact[clip]` is the best clip with the same samples; edges are between such best ones."""
    keeper, similarity = np.arange(len(ranks)), np.ones(len(ranks))
    order = np.lexsort((ranks[edges.better], ranks[edges.worse]))
    for at in order.tolist():
        better, worse = edges.better[at], edges.worse[at]
        if keeper[better] == better and keeper[worse] == worse:
            keeper[worse], similarity[worse] = better, edges.similarity[at]
    return Verdict(keeper[exact], similarity[exact])


def columns_of(verdict: Verdict, exact: Ints, clip_ids: pa.Array) -> dict[str, pa.Array]:
    """The columns of schema DEDUP, one value for each clip."""
    rows = np.arange(len(exact))
    keep = verdict.keeper == rows
    shared = np.zeros(len(rows), bool)
    shared[verdict.keeper[~keep]] = True
    alone = keep & ~shared
    names = pc.take(clip_ids, pa.array(verdict.keeper, mask=alone))
    kind = np.where(exact == verdict.keeper, "exact", "near")
    return {
        "dup_group": names,
        "dup_keep": pa.array(keep),
        "dup_kind": pa.array(kind, pa.string(), mask=keep),
        "dup_similarity": pa.array(verdict.similarity.astype(np.float32), mask=keep),
    }
