"""Put decoded frames on the source's time line: by their stamps, or by counting where stamps mislead (see clock)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

from audio.clock import HOLE_SAMPLES, Clock, Stamp, agreed_start

#: Frames whose stamps vote on where counting starts.
_VOTERS = 16
#: So many frames in a row that are late by the same amount make a hole, not a slip.
_AGREEING = 3


def placed(frames: Iterator[Any], clock: Clock) -> Iterator[tuple[int, Any]]:
    """(position, frame) for every frame, in decoding order."""
    return _counted(frames, clock) if clock.counted else _stamped(frames, clock)


def _stamped(frames: Iterator[Any], clock: Clock) -> Iterator[tuple[int, Any]]:
    after: int | None = None
    for frame in frames:
        position = clock.position(frame.pts) if frame.pts is not None else after
        if position is None:
            continue
        after = position + frame.samples
        yield position, frame


def _counted(frames: Iterator[Any], clock: Clock) -> Iterator[tuple[int, Any]]:
    voters = list(islice(frames, _VOTERS))
    stamps = [Stamp(frame.pts, frame.samples) for frame in voters if frame.pts is not None]
    if not stamps:
        return
    position = agreed_start(clock, stamps)
    late, agreeing = 0, 0
    for frame in chain(voters, frames):
        off = clock.position(frame.pts) - position if frame.pts is not None else 0
        agreeing = agreeing + 1 if off and off == late else 1
        late = off
        if off and (agreeing >= _AGREEING or abs(off) > HOLE_SAMPLES):
            position += off
            late = 0
        yield position, frame
        position += frame.samples
