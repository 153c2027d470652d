"""Which clip goes into which shard: split by source, shuffle by seed, cut evenly. Arithmetic; reads no audio.

    view rows ──split by hash of source_id──► train | valid | test ──shuffle──► order ──cut──► even shards

The same view and options give the same plan on every machine: sources are split by SHA-256, the order comes
from PCG64's raw numbers (numpy promises those never change; it does not promise the same of its shuffles).
A source keeps its split when the corpus grows, whatever the seed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from corpus.shuffled import tables_of

#: Rows of the view that are in memory at once while shards are handed out.
WAVE_ROWS = 500_000

#: Bytes a second that lossy codecs take, about: only for planning shards of even size.
_LOSSY_BYTES_PER_S = {"opus": 12_000, "mp3": 16_000}

#: Of a key that every reader takes: no dots, no slashes, short enough for a tar header.
_KEY = r"^[A-Za-z0-9_-]{1,80}$"

#: The columns of the view that planning needs.
COLUMNS = ("clip_id", "source_id", "audio_bytes", "num_samples", "sample_rate_hz")

Ints = npt.NDArray[np.int64]


class ExportError(Exception):
    """An export that cannot be made as asked; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class ShardOptions:
    """How a view becomes shards. Every field is part of what makes two exports the same or not."""

    format: str = "webdataset"
    codec: str = "flac"
    sample_rate_hz: int | None = None  # None: each clip keeps its master's rate
    shard_clips: int | None = None  # samples of one shard; None: by shard_bytes
    shard_bytes: int = 256_000_000
    split: Mapping[str, float] | None = None  # shares by name, in order; None: all train
    seed: int = 0
    max_clip_s: float | None = None  # longer clips become windows of equal length; None: they stay whole
    prefix: str = ""


@dataclass(frozen=True)
class Shard:
    """One shard to write. `index` counts over all splits, `number` within the split."""

    index: int
    split: str
    number: int
    name: str
    samples: int

    @property
    def path(self) -> str:
        return f"{self.split}/{self.name}"


@dataclass(frozen=True)
class ShardPlan:
    """Every sample's place. Sample i is view row `row[i]`, window `window[i]` of `windows[i]`; shard k holds
    samples `starts[k]` to `starts[k + 1]`."""

    shards: list[Shard]
    row: Ints
    window: Ints
    windows: Ints
    starts: Ints
    sources: dict[str, int]  # split -> how many sources it has; also the splits that got none
    clips: dict[str, int]

    @property
    def empty_splits(self) -> list[str]:
        return [name for name, count in self.clips.items() if count == 0]

    def handed_out(
        self, view: Any, todo: Sequence[Shard], scratch: Path | None = None
    ) -> Iterator[tuple[Shard, pa.Table]]:
        """Each shard of `todo` with its rows: the view's columns, `window`, `windows`; in its order.

        Shards are handed out in waves, so that memory is bounded whatever the view's size. Every wave's rows lie all
        over the view: it is read once, and its rows put into a file for each wave, in the folder `scratch`.
        """
        waves = list(self._waves(todo))
        needed = [self._rows_of(wave) for wave in waves]
        for wave, rows_needed, table in zip(waves, needed, tables_of(view, needed, scratch), strict=True):
            for shard in wave:
                start, stop = int(self.starts[shard.index]), int(self.starts[shard.index + 1])
                rows = table.take(pa.array(np.searchsorted(rows_needed, self.row[start:stop])))
                rows = rows.append_column("window", pa.array(self.window[start:stop]))
                yield shard, rows.append_column("windows", pa.array(self.windows[start:stop]))

    def _rows_of(self, wave: Sequence[Shard]) -> Ints:
        """The rows of the view that the wave's shards hold, ascending."""
        return np.unique(np.concatenate([self.row[self.starts[s.index] : self.starts[s.index + 1]] for s in wave]))

    def _waves(self, todo: Sequence[Shard]) -> Iterator[list[Shard]]:
        wave: list[Shard] = []
        rows = 0
        for shard in todo:
            if wave and rows + shard.samples > WAVE_ROWS:
                yield wave
                wave, rows = [], 0
            wave.append(shard)
            rows += shard.samples
        if wave:
            yield wave


def plan_shards(tables: Iterable[pa.Table], options: ShardOptions, overhead_bytes: int, shard_name: Any) -> ShardPlan:
    """Place every clip of a view. `tables` are its rows with COLUMNS; `shard_name(prefix, number)` is the format's."""
    _check(options)
    shares = split_shares(options.split)
    clips = _gathered(tables, shares)
    split = clips.split
    windows = _windows(clips, options.max_clip_s)
    size = _sample_bytes(clips, options, windows) + overhead_bytes
    shards: list[Shard] = []
    order: list[Ints] = []
    window: list[Ints] = []
    lengths: list[Ints] = []
    for at, name in enumerate(shares):
        members = np.flatnonzero(split == at)
        rows, which = _expand(members, windows)
        shuffled = shuffle_order(len(rows), options.seed, name)
        rows, which = rows[shuffled], which[shuffled]
        cuts = _cuts(size[rows], options)
        for number, samples in enumerate(np.diff(cuts)):
            file = shard_name(options.prefix, number)
            shards.append(Shard(len(shards), name, number, file, int(samples)))
        order.append(rows)
        window.append(which)
        lengths.append(np.diff(cuts))
    row = np.concatenate(order)
    return ShardPlan(
        shards=shards,
        row=row,
        window=np.concatenate(window),
        windows=windows[row],
        starts=np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64),
        sources=dict(zip(shares, clips.sources, strict=True)),
        clips={name: int(np.count_nonzero(split == at)) for at, name in enumerate(shares)},
    )


def split_shares(split: Mapping[str, float] | None) -> dict[str, float]:
    """Shares that sum to one, in the order given; ExportError when they make no sense."""
    wanted = dict(split) if split is not None else {"train": 1.0}
    for name, share in wanted.items():
        if not name.isascii() or not name.isalpha() or not name.islower() or len(name) > 16:
            raise ExportError(f"split {name!r}: a split's name is up to 16 letters a to z, e.g. train, valid, test")
        if not 0 <= share < float("inf"):
            raise ExportError(f"split {name}: the share is {share}; it must be a number from 0 up")
    total = sum(wanted.values())
    if total <= 0:
        raise ExportError("the shares of the splits sum to 0: no clip would be exported")
    return {name: share / total for name, share in wanted.items() if share > 0}


def split_of(source_ids: Sequence[str], shares: Mapping[str, float]) -> npt.NDArray[np.int8]:
    """The split of each source, as an index into `shares`, by a hash of its id alone."""
    limits = np.cumsum(list(shares.values()))
    limits[-1] = 1.0
    at = np.fromiter((_unit_hash(source_id) for source_id in source_ids), np.float64, len(source_ids))
    return np.searchsorted(limits, at, side="right").astype(np.int8)


def shuffle_order(count: int, seed: int, salt: str) -> Ints:
    """A permutation of range(count), the same on every machine and numpy."""
    salted = int.from_bytes(hashlib.sha256(f"{seed}:{salt}".encode()).digest()[:16], "big")
    draws = np.random.PCG64(np.random.SeedSequence(salted)).random_raw(count)
    return np.argsort(draws, kind="stable").astype(np.int64)


def window_span(num_samples: int, window: int, windows: int) -> tuple[int, int]:
    """First and last + 1 sample of a window: windows are of equal length, so that none is a tiny tail."""
    return num_samples * window // windows, num_samples * (window + 1) // windows


def _unit_hash(source_id: str) -> float:
    """A number in [0, 1) with 53 bits: more would round up to 1."""
    digest = hashlib.sha256(b"autorecap-split:" + source_id.encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


@dataclass(frozen=True)
class _Clips:
    """The view's clips as far as planning needs them, a value for each."""

    split: npt.NDArray[np.int8]
    audio_bytes: Ints
    num_samples: Ints
    sample_rate_hz: npt.NDArray[np.int32]
    sources: list[int]  # of each split


def _gathered(tables: Iterable[pa.Table], shares: Mapping[str, float]) -> _Clips:
    """The rows' numbers and splits; ids are looked at and let go."""
    parts: list[tuple[Any, ...]] = []
    sources = np.zeros(len(shares), dtype=np.int64)
    last: str | None = None
    faults = _Faults()
    for table in (table for table in tables if table.num_rows):
        faults.look(table)
        encoded = table.column("source_id").combine_chunks().dictionary_encode()
        names = encoded.dictionary.to_pylist()
        splits = split_of(names, shares)
        new = splits if names[0] != last else splits[1:]  # a source's clips stand together
        sources += np.bincount(new, minlength=len(shares))
        last = table.column("source_id")[-1].as_py()
        parts.append((splits[encoded.indices.to_numpy()], *(_numbers(table, name) for name in COLUMNS[2:])))
    faults.refuse()
    split, size, samples, rate = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return _Clips(split, size, samples, rate.astype(np.int32), sources.tolist())


def _numbers(table: pa.Table, column: str) -> npt.NDArray[Any]:
    """Nulls are zeros here; `_Faults` has told of them."""
    return pc.fill_null(table.column(column), 0).to_numpy()  # type: ignore[no-any-return]


@dataclass
class _Faults:
    """Clips that cannot be exported."""

    rows: int = 0
    ids: int = 0
    silent: int = 0
    bad_id: str = ""
    silent_id: str = ""

    def look(self, clips: pa.Table) -> None:
        ids = clips.column("clip_id")
        bad = ids.filter(pc.invert(pc.match_substring_regex(ids, _KEY)))
        lost = ids.filter(pc.is_null(pc.add(clips.column("audio_bytes"), clips.column("num_samples"))))
        self.rows += clips.num_rows
        self.ids, self.silent = self.ids + len(bad), self.silent + len(lost)
        self.bad_id = self.bad_id or (bad[0].as_py() if len(bad) else "")
        self.silent_id = self.silent_id or (lost[0].as_py() if len(lost) else "")

    def refuse(self) -> None:
        if not self.rows:
            raise ExportError("the view holds no clips: there is nothing to export; make one with autorecap select")
        if self.ids:
            raise ExportError(f"{self.ids} clip ids cannot be keys of a shard, e.g. {self.bad_id[:100]!r}")
        if self.silent:
            raise ExportError(f"{self.silent} clips of the view have no audio, e.g. {self.silent_id}")


def _check(options: ShardOptions) -> None:
    if options.shard_clips is not None and options.shard_clips < 1:
        raise ExportError(f"shard_clips is {options.shard_clips}; a shard holds at least 1 clip")
    if options.shard_bytes < 1:
        raise ExportError(f"shard_bytes is {options.shard_bytes}; it must be above 0")
    if options.max_clip_s is not None and not options.max_clip_s > 0:
        raise ExportError(f"max_clip_s is {options.max_clip_s}; it must be above 0")
    if options.prefix and not all(c.isascii() and (c.isalnum() or c in "_-") for c in options.prefix):
        raise ExportError(f"prefix {options.prefix!r}: letters, digits, - and _ only")


def _windows(clips: _Clips, max_clip_s: float | None) -> Ints:
    """How many windows each clip gives."""
    if max_clip_s is None:
        return np.ones(len(clips.split), dtype=np.int64)
    longest = np.maximum((clips.sample_rate_hz * max_clip_s).astype(np.int64), 1)
    return np.maximum(-(-clips.num_samples // longest), 1)


def _expand(members: Ints, windows: Ints) -> tuple[Ints, Ints]:
    """(row, window) of every sample that the clips `members` give, in the view's order."""
    counts = windows[members]
    rows = np.repeat(members, counts)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    return rows, np.arange(len(rows), dtype=np.int64) - first


def _sample_bytes(clips: _Clips, options: ShardOptions, windows: Ints) -> Ints:
    """About how many bytes of audio one sample of each clip will take."""
    native = clips.sample_rate_hz.astype(np.int64)
    seconds = clips.num_samples / native
    wanted = native if options.sample_rate_hz is None else np.full_like(native, options.sample_rate_hz)
    if options.codec in _LOSSY_BYTES_PER_S:
        size = seconds * _LOSSY_BYTES_PER_S[options.codec]
    elif options.codec == "wav":
        size = seconds * wanted * 2
    else:
        size = clips.audio_bytes * (wanted / native)
    return (size / windows).astype(np.int64)


def _cuts(size: Ints, options: ShardOptions) -> Ints:
    """Where shards begin and end: as many as the limit asks for, all of about the same size."""
    if len(size) == 0:
        return np.zeros(1, dtype=np.int64)
    if options.shard_clips is not None:
        count = -(-len(size) // options.shard_clips)
        return np.arange(count + 1, dtype=np.int64) * len(size) // count
    total = np.cumsum(size)
    count = min(max(-(-int(total[-1]) // options.shard_bytes), 1), len(size))
    goals = int(total[-1]) * np.arange(1, count, dtype=object) // count
    inner = np.searchsorted(total, goals.astype(np.int64), side="left") + 1
    # Every shard holds at least one sample, even where one sample is larger than a shard.
    at = np.arange(1, count, dtype=np.int64)
    inner = np.minimum(np.maximum.accumulate(inner - at) + at, len(size) - count + at)
    return np.concatenate([[0], inner, [len(size)]]).astype(np.int64)
