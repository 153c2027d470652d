"""Fingerprints as the corpus stores them, and how well two of them agree. Millions at a time: no Python loop a clip.

    one fingerprint = little-endian uint32 words:
    version << 24 | keys     the keys, ascending     their frames, two to a word     one word a frame

The frames of audio/fingerprint.py are 384 ms long, one every 48 ms. A pair is compared at a lag: frame f of the first
lies on frame f - lag of the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

VERSION = 1
HOP_MS, WINDOW_MS = 48, 384
BITS = 32

#: Frames that a window reaches over: n words span n + REACH hops of sound.
REACH = WINDOW_MS // HOP_MS

#: Words compared first, around a shared key; unlike pairs are told apart by them.
_GLIMPSE = 64
#: Words gathered at a time.
_AT_ONCE = 2_000_000

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint32]
Floats = npt.NDArray[np.float64]


def pack(words: Words, keys: Words, places: npt.NDArray[np.uint16]) -> bytes:
    """A fingerprint as bytes: `words` (frames,), `keys` (n,) ascending, `places` (n,) the keys' frames."""
    padded = np.zeros(len(places) + len(places) % 2, "<u2")
    padded[: len(places)] = places
    header = np.array([VERSION << 24 | len(keys)], "<u4")
    return header.tobytes() + keys.astype("<u4").tobytes() + padded.tobytes() + words.astype("<u4").tobytes()


def joined(parts: Sequence[tuple[bytes | None, int]], frames: int) -> bytes:
    """The fingerprint of a join: each member's, with the frame at which it starts, laid into `frames` words.

    Words that would lie across a seam are 0: nobody has heard them.
    """
    words = np.zeros(frames, np.uint32)
    keys: list[Words] = []
    places: list[Ints] = []
    for data, start in parts:
        prints = Prints.of(pa.array([data], pa.binary()))
        own, at = prints.words_of(0)[: max(frames - start, 0)], prints.places + start
        words[start : start + len(own)] = own
        keys.append(prints.keys[at < min(frames, 65_536)])
        places.append(at[at < min(frames, 65_536)])
    key, place = np.concatenate(keys), np.concatenate(places)
    order = np.lexsort((place, key))
    return pack(words, key[order], place[order].astype(np.uint16))


@dataclass(frozen=True)
class Prints:
    """Many fingerprints. Clip i has words data[first[i] : first[i] + frames[i]]; keys lie flat beside their owners."""

    data: Words
    first: Ints
    frames: Ints
    keys: Words
    places: Ints
    owners: Ints

    @staticmethod
    def of(column: pa.Array) -> Prints:
        """The fingerprints of a binary column. What is null, torn or of another version has no frames and no keys."""
        data, starts, sizes = _words_of(column)
        there = np.flatnonzero(sizes > 0)
        headers = data[starts[there]]
        count = (headers & 0xFFFFFF).astype(np.int64)
        frames = sizes[there] - 1 - count - (count + 1) // 2
        sound = (headers >> 24 == VERSION) & ((frames > 0) | ((frames == 0) & (count == 0)))
        there, count, frames = there[sound], count[sound], frames[sound]
        first = np.zeros(len(column), np.int64)
        length = np.zeros(len(column), np.int64)
        length[there] = frames
        first[there] = starts[there] + 1 + count + (count + 1) // 2
        at = _ranges(starts[there] + 1, count)
        halves = data.view("<u2")
        places = halves[_ranges(2 * (starts[there] + 1 + count), count)]
        return Prints(data, first, length, data[at], places.astype(np.int64), np.repeat(there, count))

    def words_of(self, clip: int) -> Words:
        return self.data[self.first[clip] : self.first[clip] + self.frames[clip]]


def _words_of(column: pa.Array) -> tuple[Words, Ints, Ints]:
    """The column's bytes as words, where each value starts and how many words it has (0: null or torn)."""
    column = column.cast(pa.large_binary())
    offsets = np.frombuffer(column.buffers()[1], np.int64)[column.offset : column.offset + len(column) + 1]
    sizes = np.diff(offsets)
    sizes = np.where(column.is_valid().to_numpy(zero_copy_only=False), sizes, 0)
    raw = column.buffers()[2]
    data = np.frombuffer(raw, np.uint8) if raw is not None else np.zeros(0, np.uint8)
    torn = (sizes % 4 != 0) | (offsets[:-1] % 4 != 0)
    if torn[sizes > 0].any():  # somebody else's bytes among them: what is whole is laid anew
        sizes = np.where(sizes % 4 == 0, sizes, 0)
        data, offsets = data[_ranges(offsets[:-1], sizes)], np.concatenate([[0], np.cumsum(sizes)])
    return data[: len(data) // 4 * 4].view("<u4"), offsets[:-1] // 4, sizes // 4


def _ranges(starts: Ints, counts: Ints) -> Ints:
    """starts[0], starts[0] + 1, ... (counts[0] of them), then those of starts[1], and so on."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    return np.asarray(np.arange(total) + np.repeat(starts - (ends - counts), counts))


@dataclass(frozen=True)
class Agreement:
    """Of pairs: `errors` share of bits that differ, `frames` compared, `lag`, `kappa` 0 as by chance, 1 equal."""

    errors: Floats
    frames: Ints
    lag: Ints
    kappa: Floats


def glimpse(a: Prints, of_a: Ints, place_a: Ints, b: Prints, of_b: Ints, place_b: Ints) -> Floats:
    """Bit errors in the 64 words around a shared key of each pair (row `of_a` of a, `of_b` of b)."""
    errors = np.ones(len(of_a))
    offsets = np.arange(_GLIMPSE) - _GLIMPSE // 2
    for at in range(0, len(of_a), _AT_ONCE // _GLIMPSE):
        some = slice(at, at + _AT_ONCE // _GLIMPSE)
        in_a, in_b = place_a[some, None] + offsets, place_b[some, None] + offsets
        inside = (in_a >= 0) & (in_b >= 0) & (in_a < a.frames[of_a[some], None]) & (in_b < b.frames[of_b[some], None])
        left = a.data[np.where(inside, a.first[of_a[some], None] + in_a, 0)]
        right = b.data[np.where(inside, b.first[of_b[some], None] + in_b, 0)]
        differ = np.where(inside, np.bitwise_count(left ^ right), 0).sum(axis=1)
        errors[some] = differ / np.maximum(BITS * inside.sum(axis=1), 1)
    return errors


def agree(a: Prints, of_a: Ints, b: Prints, of_b: Ints, lag: Ints, within: int = 1) -> Agreement:
    """Each pair over all of its overlap, at the lag near `lag` (at most `within` away) where it agrees best."""
    best = Agreement(np.ones(len(of_a)), np.zeros(len(of_a), np.int64), lag.copy(), np.zeros(len(of_a)))
    for step in sorted(range(-within, within + 1), key=abs):
        found = _at_lag(a, of_a, b, of_b, lag + step)
        better = found.errors < best.errors
        best = Agreement(*(np.where(better, getattr(found, n), getattr(best, n)) for n in Agreement.__annotations__))
    return best


def _at_lag(a: Prints, of_a: Ints, b: Prints, of_b: Ints, lag: Ints) -> Agreement:
    from_a, from_b = np.maximum(lag, 0), np.maximum(-lag, 0)
    frames = np.maximum(np.minimum(a.frames[of_a] - from_a, b.frames[of_b] - from_b), 0)
    errors, kappa = np.ones(len(lag)), np.zeros(len(lag))
    for some in _batches(frames):
        n = frames[some]
        left = a.data[_ranges(a.first[of_a[some]] + from_a[some], n)]
        right = b.data[_ranges(b.first[of_b[some]] + from_b[some], n)]
        starts = np.cumsum(n) - n
        errors[some] = np.add.reduceat(np.bitwise_count(left ^ right).astype(np.int64), starts) / (BITS * n)
        kappa[some] = 1 - errors[some] / np.maximum(_errors_by_chance(left, right, starts, n), 1e-9)
    return Agreement(errors, frames, lag, kappa)


def _errors_by_chance(left: Words, right: Words, starts: Ints, n: Ints) -> Floats:
    """How many bits would differ if the two had nothing in common but how often each band's bit is set."""
    share = [_share_set(words, starts, n) for words in (left, right)]
    return np.asarray((share[0] * (1 - share[1]) + share[1] * (1 - share[0])).mean(axis=1))


def _share_set(words: Words, starts: Ints, n: Ints) -> Floats:
    bits = np.unpackbits(words.view(np.uint8).reshape(-1, 4), axis=1)
    return np.asarray(np.add.reduceat(bits, starts, axis=0, dtype=np.int64) / n[:, None])


def _batches(frames: Ints) -> list[Ints]:
    """Pairs that have an overlap, in runs of about 200,000 words: their bits are counted one by one."""
    there = np.flatnonzero(frames > 0)
    which = np.cumsum(frames[there]) // (_AT_ONCE // 10)
    return np.split(there, np.flatnonzero(np.diff(which)) + 1) if len(there) else []
