"""Fetch of a source only what its clips need, by HTTP ranges, into a file that decoders open as if it were whole.

What is needed is found by reading: each span is read here just as `cut` will read it (audio/decode.py reads alike for
alike spans), and what is not here is asked for, block by block. Every request goes through the client: its turn, the
guard, retries and Retry-After, opt-outs. Blocks stay in the node's media cache (stages/partial.py): another unit of the
source, or a start after a kill, goes on with those that are there.

A site that does not answer ranges, or answers for another file than before (length, ETag, Last-Modified), is asked for
the whole file instead; blocks of two files never meet.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stages.faults import Fault
from stages.media import Address
from stages.partial import BLOCK_BYTES, PartialMedia, PartialStore, Told
from stages.ranges import FIRST_BYTES, Expected, RangeCosts, first_request_bytes, next_request_bytes
from stages.transcript import Span

log = logging.getLogger(__name__)

#: The list of blocks in a source's folder of the media cache: the `media_path` of what was fetched by ranges.
NAME = "ranges.json"
#: No source is larger; a sparse file of any length that a site claims is not made.
MAX_SIZE_BYTES = 64 << 30
#: Until the first answer tells the size: 128 kbit/s.
_USUAL_BYTES_PER_MS = 16


@dataclass(frozen=True, kw_only=True)
class RangeAnswer:
    """What came for a range. `told` None: no answer that can be put into its place."""

    first: int
    body: bytes
    told: Told | None


#: (first byte, last byte) -> the answer. Raises Fault.
ReadRange = Callable[[int, int], RangeAnswer]


class NoRanges(Exception):
    """This file cannot be had by ranges: the whole file is to be fetched."""


@dataclass(frozen=True, kw_only=True)
class RangedFetch:
    """What is wanted of one source, and on what terms."""

    mode: Literal["auto", "always"]
    costs: RangeCosts
    spans_ms: Sequence[Span]
    of_units: int = 1  # the source's spans lie in so many units like this one
    max_bytes: int | None = None
    max_s: float | None = None

    def __call__(self, address: Address, read: ReadRange, folder: Path) -> Path | None:
        """The list of blocks in `folder`, all that the spans need being here; None where it shall be the whole file.

        Raises Fault.
        """
        if not self._may_pay(address, address.size_bytes):
            return None
        store = PartialStore(folder / NAME)
        began_here = store.told is None
        blocks = _Blocks(self, store, read, address.duration_ms)
        try:
            blocks.begin()
            if not self._may_pay(address, store.size_bytes):
                raise NoRanges("it is smaller than it seemed")
            self._read_spans(PartialMedia(store, blocks.fetch))
        except NoRanges as reason:
            log.info("%s: the whole file: %s", folder.name, reason)
            if began_here:  # else another unit's clips may just be cut from it; it goes with the source's other media
                store.drop()
            return None
        return store.path

    def _may_pay(self, address: Address, size_bytes: float | None) -> bool:
        if address.protocol not in ("http", "https"):
            return False
        if self.mode == "always":
            return True
        if address.duration_ms is None:
            return False
        size = size_bytes or address.duration_ms * _USUAL_BYTES_PER_MS
        spans = self._all_spans(address.duration_ms)
        return self.costs.ranges_pay(spans, duration_ms=address.duration_ms, size_bytes=size, ext=address.ext)

    def _all_spans(self, duration_ms: int) -> list[Span]:
        """This unit's spans, and as many like them for each other unit of the source."""
        step = duration_ms // self.of_units
        return [
            ((start + at * step) % max(duration_ms, 1), (start + at * step) % max(duration_ms, 1) + end - start)
            for at in range(self.of_units)
            for start, end in self.spans_ms
        ]

    def _read_spans(self, media: PartialMedia) -> None:
        from audio.decode import AudioSource
        from audio.faults import DecodeError

        for start_ms, end_ms in sorted(set(self.spans_ms)):
            try:
                with AudioSource(media) as source:
                    source.read_span(start_ms, end_ms)
            except DecodeError as error:
                log.debug("the bytes are here; that they do not decode is for `cut` to say: %s", error)
            media.check()


class _Blocks:
    """Brings blocks into a store."""

    def __init__(self, wanted: RangedFetch, store: PartialStore, read: ReadRange, duration_ms: int | None) -> None:
        self._wanted = wanted
        self._duration_ms = duration_ms
        self._store = store
        self._read = read
        self._ends_s = time.monotonic() + wanted.max_s if wanted.max_s is not None else None
        self._requests = 0
        self._after: tuple[int, int] | None = None  # the block after the last request, and that request's bytes

    def begin(self) -> None:
        """Know the file: from its first answer, or from blocks that are here already."""
        if self._store.told is None:
            answer = self._ask(0, FIRST_BYTES - 1)
            if answer.told.etag is None and answer.told.last_modified is None:
                raise NoRanges("nothing tells whether two answers are of the same file")
            self._store.begin(answer.told)
            self._store.put(0, answer.body)
            self._after = (len(answer.body) // BLOCK_BYTES, FIRST_BYTES)

    def fetch(self, block: int) -> None:
        """Bring this block and some after it: more of them where it follows on what was asked for before."""
        size = self._first_bytes()
        if self._after is not None and self._after[0] == block:
            size = next_request_bytes(self._after[1])
        count = 1
        while count * BLOCK_BYTES < size and block + count < self._store.blocks and not self._store.has(block + count):
            count += 1
        first = block * BLOCK_BYTES
        answer = self._ask(first, min(first + count * BLOCK_BYTES, self._store.size_bytes) - 1)
        if answer.told != self._store.told:
            raise NoRanges("it has changed since its first bytes came")
        self._store.put(block, answer.body)
        self._after = (block + count, size)

    def _first_bytes(self) -> int:
        if self._duration_ms is None:
            return FIRST_BYTES
        spans, size = self._wanted.spans_ms, self._store.size_bytes
        return first_request_bytes(spans, duration_ms=self._duration_ms, size_bytes=size)

    def _ask(self, first: int, last: int) -> _Told:
        if self._ends_s is not None and time.monotonic() > self._ends_s:
            raise Fault("too_slow", "the ranges took longer than a download may")
        limit = self._wanted.max_bytes
        if limit is not None and self._store.held_bytes > limit:
            raise Fault("too_large", f"more than {limit} bytes of the media are needed")
        if self._wanted.mode == "auto" and self._cost_more_than_whole():
            raise NoRanges("its container is read all over: the whole file costs less")
        self._requests += 1
        answer = self._read(first, last)
        if answer.told is None:
            raise NoRanges("the site does not answer ranges")
        if answer.told.size_bytes > MAX_SIZE_BYTES:
            raise NoRanges("the site claims a size beyond all bounds")
        if answer.first != first or len(answer.body) != min(last + 1, answer.told.size_bytes) - first:
            raise NoRanges("the site answered another range than was asked for")
        return _Told(answer.body, answer.told)

    def _cost_more_than_whole(self) -> bool:
        """What was expected to pay may not: an MP4 of fragments without an index is walked from head to head."""
        costs = self._wanted.costs
        so_far = Expected(requests=self._requests, size_bytes=self._store.held_bytes)
        whole = Expected(requests=1, size_bytes=self._store.size_bytes)
        return self._store.told is not None and costs.seconds(so_far) > costs.seconds(whole)


@dataclass(frozen=True)
class _Told:
    """An answer that is what was asked for."""

    body: bytes
    told: Told
