"""The clips of one corpus as one reader takes them, from any place on, without end.

Shards are opened by us (a disk, or anything that fsspec reaches; webdataset's own opener would run what stands behind
"pipe:"), members grouped by webdataset. A shard that ends before its clips do is passed over from there: what is
missing of it is counted. A store that does not answer is asked again a few times; then the reading stops.
"""

from __future__ import annotations

import logging
import tarfile
import time
from collections.abc import Callable, Iterator
from itertools import islice

from corpus.store import Store
from generation.data_order import Pass, Shuffled
from training.errors import TrainError
from training.shards import Sample, Shard, Shards

log = logging.getLogger(__name__)

#: How often a shard is opened anew when its store fails in the middle, and the pause before, longer each time.
TRIES = 4
PAUSE_S = 1.0


class Damaged(Exception):
    """A shard whose bytes are no tar from some place on."""


class Unread(Exception):
    """A store that failed while a shard was read."""


def samples_in(shard: Shard, on_stray: Callable[[], None] = lambda: None) -> Iterator[Sample]:
    """The samples of a shard that have a record, in its order; `on_stray` is told of members that have none.

    Damaged when the shard ends in the middle, TrainError when it cannot be had at all.
    """
    given, tries = 0, 0
    while True:
        try:
            for sample in islice(_samples(shard, on_stray if tries == 0 else lambda: None), given, None):
                given += 1
                yield sample
            return
        except Unread as error:
            tries += 1
            if tries == TRIES:
                raise TrainError(f"data: {shard} cannot be read: {error}") from error
            log.warning("%s: %s; opened anew (%d of %d)", shard, error, tries, TRIES - 1)
            time.sleep(PAUSE_S * tries)


def _samples(shard: Shard, on_stray: Callable[[], None]) -> Iterator[Sample]:
    from webdataset.tariterators import group_by_keys, tar_file_expander

    try:
        with Store(shard.folder).open(shard.name) as file:
            for sample in group_by_keys(tar_file_expander([{"url": str(shard), "stream": _Steady(file)}])):
                if "json" in sample:
                    yield sample
                else:
                    on_stray()
    except FileNotFoundError:
        raise TrainError(f"data: there is no {shard}") from None
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise Damaged(str(error.args[0] if error.args else error).split(" @ ")[0]) from error
    except OSError as error:
        raise Unread(str(error)) from error


class _Steady:
    """A file for tarfile. A client's own faults while reading (aiohttp's, botocore's) become OSError."""

    def __init__(self, file: object) -> None:
        self._read: Callable[[int], bytes] = file.read  # type: ignore[attr-defined]

    def read(self, size: int) -> bytes:
        try:
            return self._read(size)
        except OSError:
            raise
        except Exception as error:
            raise OSError(f"{type(error).__name__}: {error}") from error


class Reader:
    """Samples of `shards` without end for reader `reader` of `readers`, the `cursor` first ones passed over.

    What it gives does not depend on where it began. `strays` counts members without a record.
    """

    def __init__(
        self, shards: Shards, *, seed: str, reader: int, readers: int, shuffle_clips: int, cursor: int = 0
    ) -> None:
        self._shards = [shard for shard in shards.shards if shard.clips]
        if shards.clips < readers:
            raise TrainError(
                f"data: {shards.clips} clips ({self._shards[0].folder}) are too few for {readers} readers; set "
                "data.loader_workers: 0, or give the corpus more shards"
            )
        self._sizes = [shard.clips for shard in self._shards]
        self._seed, self._reader, self._readers, self._buffer = seed, reader, readers, shuffle_clips
        self.strays = 0
        self._number = -1
        self.longest_pass = 0
        self._begin_next()
        while cursor >= len(self._pass):
            cursor -= len(self._pass)
            self._begin_next()
        self._order.skip(cursor)

    def _begin_next(self) -> None:
        self._number += 1
        self._pass = Pass(self._sizes, f"{self._seed}/{self._number}", reader=self._reader, readers=self._readers)
        self.longest_pass = max(self.longest_pass, len(self._pass))
        self._order: Shuffled = self._pass.shuffled(self._buffer)
        self._coming: Iterator[tuple[int, Sample | None]] | None = None
        self._held: dict[int, Sample | None] = {}

    def next(self) -> Sample | None:
        """The next sample; None for one that a damaged shard has lost."""
        position = next(self._order, None)
        while position is None:
            for _ in self._coming or ():  # to the end of the last shard, for what strays there
                pass
            self._begin_next()
            position = next(self._order, None)
        if self._coming is None:
            wanted = self._order.waiting | {position}
            # All that came to the buffer before is wanted or gone; what comes later is not waited for yet.
            self._coming = self._forward(wanted, self._order.ahead)
        while position not in self._held:
            at, sample = next(self._coming)
            self._held[at] = sample
        return self._held.pop(position)

    def _forward(self, wanted: set[int], ahead: int) -> Iterator[tuple[int, Sample | None]]:
        """The pass's positions in order with their samples: of those before `ahead` only the `wanted` ones."""
        first = min(wanted, default=ahead)
        shares = self._pass.positions
        for at in range(self._pass.shard_of(first), len(self._pass.shards)):
            span = self._pass.span(at)
            mine = [p for p in span if p in shares and (p >= ahead or p in wanted)]
            if mine:
                yield from self._read(self._shards[self._pass.shards[at]], span, mine)

    def _read(self, shard: Shard, span: range, mine: list[int]) -> Iterator[tuple[int, Sample | None]]:
        samples = samples_in(shard, self._on_stray)
        left = iter(mine)
        wanted = next(left)
        try:
            for sample, position in zip(samples, span, strict=False):
                if position == wanted:
                    yield position, sample
                    wanted = next(left, -1)
            error = "it ends before its clips do"
        except Damaged as damage:
            error = str(damage)
        if wanted >= 0:
            log.warning("%s is damaged: %s (%d clips are stated)", shard, error, shard.clips)
        while wanted >= 0:
            yield wanted, None
            wanted = next(left, -1)

    def _on_stray(self) -> None:
        self.strays += 1
