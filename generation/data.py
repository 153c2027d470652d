"""Shards to batches: several corpora drawn from by weight, and a place in the data that is numbers.

    feed = Feed(find_corpora(recipe), recipe, kind, batch_clips=64, seed=20)
    for batch in feed.batches(None, rank=0, world=1):      # without end; from batch.place it goes on
        batch.clips.captions, batch.clips.waves

`kind` says what a sample becomes: generation/data_waves.py, generation/latents.py. Each loader process reads a stream
of its own. Which corpus is drawn, which crop and which caption, follows from (seed, reader, clips read so far), so that
reading on from a place gives what reading through would have given.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from generation.data_reader import Damaged, Reader, samples_in
from generation.data_recipe import Data
from generation.data_samples import Clips, Kind
from training.errors import TrainError
from training.lesson import Batch
from training.samples import Unusable
from training.shards import Sample, Shards, find_shards

log = logging.getLogger(__name__)

#: Samples read one after the other that cannot be used (filters aside): the shards are not what they should be.
MAX_BAD_IN_A_ROW = 100
#: What is no fault of a shard: the recipe's own filters, and what a damaged shard has lost.
LOST = "lost_in_damaged_shard"
STRAY = "member_without_record"
_NO_FAULT = {"clap_below_min", "too_short", "too_long", "caption_too_long", LOST}


@dataclass(frozen=True)
class Drawn:
    """A corpus as it is drawn from: `share` of the clips come from it."""

    shards: Shards
    share: float
    dataset: str | None


def find_corpora(recipe: Data) -> list[Drawn]:
    """The recipe's corpora with their shards found and counted; TrainError when one has none."""
    found = [find_shards(corpus.shards, corpus.split) for corpus in recipe.corpora]
    weights = [
        float(shards.clips) if corpus.weight is None else corpus.weight
        for corpus, shards in zip(recipe.corpora, found, strict=True)
    ]
    return [
        Drawn(shards, weight / sum(weights), corpus.dataset)
        for corpus, shards, weight in zip(recipe.corpora, found, weights, strict=True)
    ]


@dataclass(frozen=True)
class Place:
    """Where one rank stands in the data: how far each of its readers has read each corpus, and whose turn is next."""

    cursors: tuple[tuple[int, ...], ...]
    next_reader: int = 0

    def after(self, read: _Read) -> Place:
        cursors = list(self.cursors)
        cursors[read.reader] = read.cursors
        return Place(tuple(cursors), (read.reader + 1) % len(cursors))

    def told(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {"cursors": [list(cursors) for cursors in self.cursors], "next_reader": self.next_reader}


class Feed:
    """See training.lesson.Data; `batch.clips` is what `kind` makes of a batch."""

    def __init__(self, corpora: Sequence[Drawn], recipe: Data, kind: Kind, *, batch_clips: int, seed: int) -> None:
        self.corpora, self.recipe, self.kind = list(corpora), recipe, kind
        self.batch_clips, self.seed = batch_clips, seed
        self.clips = sum(corpus.shards.clips for corpus in corpora)  # before the filters
        self.readers = max(1, recipe.loader_workers)

    def batches(self, place: Any, *, rank: int, world: int) -> Iterator[Batch[Any]]:
        """From `place` on (None: the start), without end; loader processes take turns.

        TrainError when a corpus gives nothing that can be used.
        """
        at = self._place(place)
        workers = self.recipe.loader_workers
        loader: Any = DataLoader(
            _Stream(self, at, rank, world), batch_size=None, num_workers=workers, collate_fn=_as_it_is,
            prefetch_factor=2 if workers else None,
        )  # fmt: skip
        for read in loader:
            if isinstance(read, _Fault):
                raise TrainError(read.text)
            at = at.after(read)
            yield Batch(read.clips, len(read.clips), at.told(), read.skipped)

    def _place(self, told: Any) -> Place:
        """The place that a checkpoint tells of; the start, where it was kept by other readers or of other corpora."""
        start = Place(((0,) * len(self.corpora),) * self.readers)
        if told is None:
            return start
        place = Place(tuple(tuple(cursors) for cursors in told["cursors"]), told["next_reader"])
        if [len(cursors) for cursors in place.cursors] != [len(cursors) for cursors in start.cursors]:
            log.warning("data: begun anew: it was read by %d loader processes before", len(place.cursors))
            return start
        return place


@dataclass(frozen=True)
class _Read:
    """A batch as a loader process hands it over, and how far it has read each corpus with it."""

    clips: Clips
    reader: int
    cursors: tuple[int, ...]
    skipped: dict[str, int]


@dataclass(frozen=True)
class _Fault:
    """What stops a reader, told to the process that trains: an exception would come with the loader's traceback."""

    text: str


class _Stream(IterableDataset[Any]):
    """Loader process v plays the reader (v + place.next_reader) of the rank's."""

    def __init__(self, feed: Feed, place: Place, rank: int, world: int) -> None:
        super().__init__()
        self._feed, self._place, self._rank, self._world = feed, place, rank, world

    def __iter__(self) -> Iterator[_Read | _Fault]:
        info = get_worker_info()
        if info is not None:
            torch.set_num_threads(1)
        reader = ((0 if info is None else info.id) + self._place.next_reader) % self._feed.readers
        try:
            yield from _Reading(self._feed, reader, self._place.cursors[reader], self._rank, self._world).batches()
        except TrainError as error:
            yield _Fault(str(error))


class _Reading:
    """One reader at work."""

    def __init__(self, feed: Feed, reader: int, cursors: tuple[int, ...], rank: int, world: int) -> None:
        self._feed, self._reader, self._cursors = feed, reader, list(cursors)
        self._number = rank * feed.readers + reader
        self._readers = [
            Reader(
                corpus.shards, seed=f"{feed.seed}/{at}", reader=self._number, readers=world * feed.readers,
                shuffle_clips=feed.recipe.shuffle_clips, cursor=cursors[at],
            )
            for at, corpus in enumerate(feed.corpora)
        ]  # fmt: skip
        self._shares = np.cumsum([corpus.share for corpus in feed.corpora])
        self._skipped: dict[str, int] = {}

    def batches(self) -> Iterator[_Read]:
        clips: list[Any] = []
        while True:
            clip, rng = self._next_clip()
            clips.append(clip)
            if len(clips) == self._feed.batch_clips:
                batch = self._feed.kind.batch(clips, rng)
                yield _Read(batch, self._reader, tuple(self._cursors), self._told_skipped())
                clips = []

    def _next_clip(self) -> tuple[Any, np.random.Generator]:
        """A clip of the corpus that is drawn, and the generator that all about it was drawn with."""
        corpus, bad, tried, reasons = -1, 0, 0, dict[str, int]()
        while True:
            rng = np.random.default_rng([self._feed.seed, self._number, sum(self._cursors)])
            drawn = min(int(np.searchsorted(self._shares, rng.random(), side="right")), len(self._shares) - 1)
            corpus = drawn if corpus < 0 else corpus  # one that could not be used is made up for from its own corpus
            reader = self._readers[corpus]
            sample = reader.next()
            self._cursors[corpus] += 1
            try:
                return self._clip(sample, corpus, rng), rng
            except Unusable as error:
                reasons[error.reason] = reasons.get(error.reason, 0) + 1
                self._skipped[error.reason] = self._skipped.get(error.reason, 0) + 1
                bad, tried = bad + (error.reason not in _NO_FAULT), tried + 1
                if bad == MAX_BAD_IN_A_ROW or tried > max(MAX_BAD_IN_A_ROW, reader.longest_pass):
                    raise TrainError(self._nothing_usable(corpus, tried, reasons, sample)) from error

    def _clip(self, sample: Sample | None, corpus: int, rng: np.random.Generator) -> Any:
        if sample is None:
            raise Unusable(LOST)
        return self._feed.kind.clip(sample, self._feed.corpora[corpus].dataset, rng)

    def _nothing_usable(self, corpus: int, tried: int, reasons: dict[str, int], sample: Sample | None) -> str:
        why = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items(), key=lambda one: -one[1]))
        places = ", ".join(self._feed.recipe.corpora[corpus].shards)
        last = "" if sample is None else f"; the last one was {sample['__key__']} of {sample['__url__']}"
        return f"data: of {tried} clips of {places} one after the other none could be used ({why}){last}"

    def _told_skipped(self) -> dict[str, int]:
        told, self._skipped = self._skipped, {}
        strays = sum(reader.strays for reader in self._readers)
        for reader in self._readers:
            reader.strays = 0
        return told | ({STRAY: strays} if strays else {})


def _as_it_is(batch: Any) -> Any:
    """DataLoader's own would make tensors of what is in it."""
    return batch


def held_out(
    corpora: Sequence[Drawn],
    kind: Kind,
    *,
    max_clips: int,
    batch_clips: int,
    rank: int = 0,
    world: int = 1,
    on_skip: Callable[[str], None] = lambda reason: None,
) -> Iterator[Clips]:
    """Clips for validation in batches, nothing drawn: the first `max_clips` of the corpora in turns, each `world`-th
    of them this rank's. The last batch may be smaller."""
    clips: list[Any] = []
    for sample, dataset in islice(islice(_in_turns(corpora, on_skip), max_clips), rank, None, world):
        try:
            clips.append(kind.clip(sample, dataset, None))
        except Unusable as error:
            on_skip(error.reason)
        if len(clips) == batch_clips:
            yield kind.batch(clips, None)
            clips = []
    if clips:
        yield kind.batch(clips, None)


def _in_turns(corpora: Sequence[Drawn], on_skip: Callable[[str], None]) -> Iterator[tuple[Sample, str | None]]:
    going = [(iter(_once(corpus.shards, on_skip)), corpus.dataset) for corpus in corpora]
    while going:
        for one in list(going):
            sample = next(one[0], None)
            if sample is None:
                going.remove(one)
            else:
                yield sample, one[1]


def _once(shards: Shards, on_skip: Callable[[str], None]) -> Iterator[Sample]:
    for shard in shards.shards:
        try:
            yield from samples_in(shard, lambda: on_skip(STRAY))
        except Damaged:
            on_skip(LOST)
