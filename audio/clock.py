"""From a frame's time stamp to its place in the source, to the sample.

Position 0 is where a player starts: the container's start time (never below zero: what lies before zero is the
encoder's run-in, which no player plays). A position follows from the time stamp, not from what was decoded before,
so a clip cut after a seek lies where it lies in the whole.

Many files carry rounded stamps: WebM's are milliseconds (48 samples), and a file copied from such a container keeps
the rounding under a finer tick. There, frames can only begin on a grid: multiples of 2.5 ms in Opus, of 64 samples in
Vorbis, of the frame size elsewhere. The first frames show by how much stamps are off and where the grid lies; every
stamp then snaps to the one grid point that it can mean.

Vorbis is worse: where long and short blocks meet, some demuxers stamp a packet up to a block late. Its frames are
counted instead (`counted`): most stamps near the start agree on a place, and each frame follows the one before it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import median

#: A stamp this far from where it is expected tells of a hole in the stream, not of rounding.
HOLE_SAMPLES = 8192


@dataclass(frozen=True)
class Stamp:
    """One decoded frame: its time stamp in ticks and how many samples it has."""

    pts: int
    samples: int


@dataclass(frozen=True)
class Grid:
    """Frames begin at `origin` + k * `step` samples; stamps are late by about `bias` samples."""

    first_pts: int
    first_position: int
    origin: int
    step: int
    bias: float

    def snap(self, pts: int, position: int) -> int:
        if pts == self.first_pts:  # may be trimmed at its front: its end lies on the grid, not its start
            return self.first_position
        return self.origin + self.step * math.floor((position - self.bias - self.origin) / self.step + 0.5)


@dataclass(frozen=True)
class Clock:
    """Ticks to samples and back. `tick` is the stream's time base in seconds."""

    sample_rate_hz: int
    tick: Fraction
    zero: int = 0  # samples from stamp 0 to position 0
    grid: Grid | None = None
    counted: bool = False

    def position(self, pts: int) -> int:
        """The sample at which a frame stamped `pts` begins."""
        scaled = 2 * pts * self.tick.numerator * self.sample_rate_hz + self.tick.denominator
        position = scaled // (2 * self.tick.denominator) - self.zero
        return self.grid.snap(pts, position) if self.grid else position

    def pts_before(self, position: int) -> int:
        """A stamp that no frame beginning after `position` has."""
        samples = (position + self.zero) * self.tick.denominator
        return samples // (self.tick.numerator * self.sample_rate_hz) - 1


def make_clock(sample_rate_hz: int, tick: Fraction, start_s: Fraction, codec: str, stamps: Sequence[Stamp]) -> Clock:
    """The clock of a stream whose first decoded frames are `stamps`."""
    zero = round(max(start_s, Fraction(0)) * sample_rate_hz)
    plain = Clock(sample_rate_hz, tick, zero, counted=codec == "vorbis")
    exact = (sample_rate_hz * tick).numerator == 1  # every sample has a tick of its own
    late = _lateness(plain, stamps)
    spread = max(late, default=0) - min(late, default=0)
    if not stamps or (exact and (spread == 0 or plain.counted)):
        return plain
    if plain.counted:
        return Clock(sample_rate_hz, tick, zero, _grid(plain, stamps, 64, median(late)), counted=True)
    middle = (max(late) + min(late)) / 2
    for step in _steps(codec, sample_rate_hz, stamps):
        if max(spread, float(sample_rate_hz * tick)) < 0.95 * step:
            return Clock(sample_rate_hz, tick, zero, _grid(plain, stamps, step, middle))
    return Clock(sample_rate_hz, tick, zero, counted=True)


def agreed_start(clock: Clock, stamps: Sequence[Stamp]) -> int:
    """Where the first of these consecutive frames begins, as most of their stamps have it."""
    counted, votes = 0, Counter[int]()
    for stamp in stamps:
        votes[clock.position(stamp.pts) - counted] += 1
        counted += stamp.samples
    most = max(votes.values())
    return next(start for start, count in votes.items() if count == most)


def _lateness(clock: Clock, stamps: Sequence[Stamp]) -> list[int]:
    """How far each frame's stamp is behind the count of samples since the first, up to the first hole."""
    late: list[int] = []
    counted = clock.position(stamps[0].pts) if stamps else 0
    for stamp in stamps:
        off = clock.position(stamp.pts) - counted
        if abs(off) > HOLE_SAMPLES:
            break
        late.append(off)
        counted += stamp.samples
    return late


def _grid(clock: Clock, stamps: Sequence[Stamp], step: int, bias: float) -> Grid:
    first = clock.position(stamps[0].pts)
    if abs(first) <= clock.sample_rate_hz * clock.tick:  # a rounded zero
        bias, first = bias + first, 0
    return Grid(stamps[0].pts, first, first + stamps[0].samples, step, bias)


def _steps(codec: str, sample_rate_hz: int, stamps: Sequence[Stamp]) -> list[int]:
    """Grid steps to try, the finest that the codec may use first."""
    whole = [stamp.samples for stamp in stamps[1:-1]] or [stamps[0].samples]  # the ends may be trimmed
    frame = math.gcd(*whole)
    return [sample_rate_hz // 400, frame] if codec == "opus" else [frame]
