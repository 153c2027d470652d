"""In which order a reader takes the clips of a corpus, known without opening a shard.

A reader is one loader process of one worker. Every pass is in another order, by the seed: shards are shuffled, shared
out between readers (or, when there are fewer shards than readers, every reader takes each n-th clip of all), and their
clips go through webdataset's shuffle buffer. Only the clips' positions go through it here, so that a place in the data
is a number, and going on from it costs a count, not the reading of all that was read before.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate


class Pass:
    """One pass of one reader. Positions count the clips of `shards`, its shards in their order, from 0."""

    def __init__(self, sizes: Sequence[int], seed: str, *, reader: int, readers: int) -> None:
        order = list(range(len(sizes)))
        random.Random(seed).shuffle(order)
        by_shard = len(order) >= readers
        self.shards = order[reader::readers] if by_shard else order
        self._ends = list(accumulate(sizes[shard] for shard in self.shards))
        total = self._ends[-1] if self._ends else 0
        self.positions = range(total) if by_shard else range(reader, total, readers)
        self._seed = f"{seed}/{reader}"

    def __len__(self) -> int:
        return len(self.positions)

    def span(self, at: int) -> range:
        """The positions of the `at`-th of its shards."""
        return range(self._ends[at - 1] if at else 0, self._ends[at])

    def shard_of(self, position: int) -> int:
        """Which of its shards holds a position."""
        return bisect_right(self._ends, position)

    def shuffled(self, buffer: int) -> Shuffled:
        return Shuffled(self.positions, buffer, self._seed)


class Shuffled:
    """The positions of a pass as they come out of the shuffle buffer.

    `waiting` are those that lie in the buffer; `ahead` is the first that has not come to it yet.
    """

    def __init__(self, positions: range, buffer: int, seed: str) -> None:
        # Imported here: webdataset takes a moment, and only a training needs it.
        from webdataset.filters import shuffle

        self.waiting: set[int] = set()
        self.ahead = positions.start
        self._step = positions.step
        self._out = iter(shuffle(buffer, initial=buffer, rng=random.Random(seed))(self._coming(positions)))

    def _coming(self, positions: range) -> Iterator[int]:
        for position in positions:
            self.waiting.add(position)
            self.ahead = position + self._step
            yield position

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        position: int = next(self._out)
        self.waiting.remove(position)
        return position

    def skip(self, count: int) -> None:
        for _ in range(count):
            next(self)
