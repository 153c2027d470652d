"""Whole file or HTTP ranges, source by source: which of the two is expected to be done sooner.

    costs = RangeCosts(mb_per_s=20, latency_ms=50, requests_per_s=10)
    costs.ranges_pay(spans_ms, duration_ms=3_600_000, size_bytes=57_600_000, ext="m4a")

    whole file    = one request + all bytes
    HTTP ranges   = the requests for the container's head and index, and for each stretch of wanted spans those that
                    seek to it and those that read it + the bytes of all these

A request takes as long as the site's distance, or as its turn at the site's pace where that is longer: at one request a
second, each costs what 20 MB cost. So ranges pay for long sources of which little is wanted, at sites that are asked
often; never for a song. What is expected follows from the source and the recipe alone, never from how the network is
just now: the same run decides alike everywhere. (What is cut is the same, to the byte, either way.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from stages.partial import BLOCK_BYTES
from stages.transcript import Span

#: The first request of a file asks for so much; that of a stretch for what a span takes, but no less. Each next one
#: asks for twice as much as the one before, up to the most.
FIRST_BYTES = 262_144
MOST_BYTES = 4_194_304
#: Read before and after a span: run-in, what decoders read ahead, and the way from a seek's landing place.
AROUND_MS = (3000, 2000)
#: Requests that a seek takes in a container without an index (measured: benchmarks/ranges.py).
_SEEK_REQUESTS = {"ogg": 4, "oga": 4, "opus": 4, "flac": 2}
#: What is expected may be wrong: ranges are taken where they promise to be done in this share of the whole file's time.
WORTH_IT = 0.75
#: Containers that can be sought in; the others are read from their start.
_SOUGHT = frozenset({"mp4", "m4a", "mov", "webm", "weba", "mka", "mkv", "wav", "w64", *_SEEK_REQUESTS})
#: Head and index: a request at the start and one at the end; MP4 lists every packet.
_HEAD_REQUESTS = 2
_INDEX_BYTES_PER_S = {"mp4": 400, "m4a": 400, "mov": 400}


@dataclass(frozen=True, kw_only=True)
class Expected:
    """Requests and bytes that getting a source's spans is expected to take."""

    requests: int
    size_bytes: float


@dataclass(frozen=True, kw_only=True)
class RangeCosts:
    """`mb_per_s`: how fast bytes come; `latency_ms`: from asking to the first byte; `requests_per_s`: a site's pace."""

    mb_per_s: float
    latency_ms: float
    requests_per_s: float

    def seconds(self, expected: Expected) -> float:
        """How long that takes."""
        per_request_s = max(self.latency_ms / 1000, 1 / self.requests_per_s)
        return expected.requests * per_request_s + expected.size_bytes / (self.mb_per_s * 1e6)

    def ranges_pay(self, spans_ms: Sequence[Span], *, duration_ms: int, size_bytes: float, ext: str) -> bool:
        """Whether ranges are expected to be done sooner than the whole file."""
        whole = Expected(requests=1, size_bytes=size_bytes)
        ranges = expected_of_ranges(spans_ms, duration_ms=duration_ms, size_bytes=size_bytes, ext=ext)
        return self.seconds(ranges) < WORTH_IT * self.seconds(whole)


def expected_of_ranges(spans_ms: Sequence[Span], *, duration_ms: int, size_bytes: float, ext: str) -> Expected:
    """Getting these spans by ranges, from a file of that size in that container."""
    per_ms = size_bytes / max(duration_ms, 1)
    if ext not in _SOUGHT:
        spans_ms = [(0, max((end for _, end in spans_ms), default=0))]
    first = first_request_bytes(spans_ms, duration_ms=duration_ms, size_bytes=size_bytes)
    stretches = _stretches(spans_ms, first / per_ms)
    requests = _HEAD_REQUESTS
    needed = float(FIRST_BYTES + first) + _INDEX_BYTES_PER_S.get(ext, 0) * duration_ms / 1000
    for start, end in stretches:
        stretch_bytes = (end - start) * per_ms
        seeks = _SEEK_REQUESTS.get(ext, 0) if start > 0 else 0
        reads = _requests_for(stretch_bytes, first)
        requests += seeks + reads
        needed += seeks * first + max(stretch_bytes, _sum_of(reads - 1, first)) + first / 2
    return Expected(requests=requests, size_bytes=min(needed, size_bytes * 1.0))


def first_request_bytes(spans_ms: Sequence[Span], *, duration_ms: int, size_bytes: float) -> int:
    """How much to ask for where a stretch begins: what half of the spans take with what is read around them."""
    lengths = sorted(end - start for start, end in spans_ms) or [0]
    usual_ms = lengths[len(lengths) // 2] + sum(AROUND_MS)
    wanted = usual_ms * size_bytes / max(duration_ms, 1) + BLOCK_BYTES  # a span begins somewhere in its first block
    return int(min(max(wanted, FIRST_BYTES), MOST_BYTES))


def next_request_bytes(before: int) -> int:
    """How much to ask for after a request of `before` bytes was read to its end."""
    return min(2 * before, MOST_BYTES)


def _stretches(spans_ms: Sequence[Span], near_ms: float) -> list[Span]:
    """Spans with what is read around them; those that lie near each other are one."""
    found: list[Span] = []
    for start, end in sorted(spans_ms):
        first, last = max(start - AROUND_MS[0], 0), end + AROUND_MS[1]
        if found and first - found[-1][1] <= near_ms:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return found


def _requests_for(size_bytes: float, first: int) -> int:
    growing = math.ceil(math.log2(MOST_BYTES / first)) + 1
    for requests in range(1, growing + 1):
        if size_bytes <= _sum_of(requests, first):
            return requests
    return growing + math.ceil((size_bytes - _sum_of(growing, first)) / MOST_BYTES)


def _sum_of(requests: int, first: int) -> int:
    """Bytes of so many growing requests."""
    total, size = 0, first
    for _ in range(requests):
        total, size = total + size, next_request_bytes(size)
    return total
