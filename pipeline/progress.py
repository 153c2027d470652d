"""Sums behind the display: per stage clips, seconds and audio; per leg outcomes, rate and time to go.

Plain arithmetic over the events of pipeline/run.py, so that a bar, a log line and a test read the same numbers.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.events import LegStart, PoolShare, UnitDone


@dataclass
class StageSum:
    """What one stage has done in this start of the leg."""

    name: str
    clips_in: int = 0
    clips_out: int = 0
    audio_ms: int = 0
    busy_s: float = 0.0
    ended: Counter[str] = field(default_factory=Counter)

    @property
    def clips_per_busy_s(self) -> float:
        return self.clips_in / self.busy_s if self.busy_s else 0.0

    @property
    def audio_hours_per_busy_hour(self) -> float:
        return self.audio_ms / 1000 / self.busy_s if self.busy_s else 0.0


@dataclass(frozen=True)
class PoolUse:
    """How busy a pool's workers were since its first unit came out, when models are loaded and warm."""

    pool: PoolShare
    busy: float  # share of their time, 1 = always
    clips_per_busy_s: float  # of one worker: what its models do by themselves, decoding included


class LegSum:
    """A leg so far. `clock` gives seconds; rates count from the first event of this start."""

    def __init__(self, start: LegStart, clock: Callable[[], float] = time.monotonic) -> None:
        self.start = start
        self._clock = clock
        self._began = clock()
        self.clips_now = 0  # committed by this start
        self.audio_ms_now = 0
        self.units_now = 0
        self.failed_units = 0
        self.outcomes: Counter[str] = Counter()
        self.stages = {name: StageSum(name) for name in start.stages}
        self._warm_s: float | None = None  # when the first unit was committed
        self._warm_units = 0
        self._warm_clips: Counter[str] = Counter()
        self._warm_busy_s: defaultdict[str, float] = defaultdict(float)

    def add(self, event: UnitDone) -> None:
        if event.error is not None:
            self.failed_units += 1
            return
        if self._warm_s is None:
            self._warm_s = self._clock()
        else:
            self._warm_units += 1
            for tally in event.tally.stages:
                self._warm_busy_s[tally.stage] += tally.seconds
                self._warm_clips[tally.stage] += tally.clips_in
        self.units_now += 1
        self.clips_now += event.clips
        for tally in event.tally.stages:
            stage = self.stages.setdefault(tally.stage, StageSum(tally.stage))
            stage.clips_in += tally.clips_in
            stage.clips_out += tally.clips_out
            stage.audio_ms += tally.audio_ms
            stage.busy_s += tally.seconds
            stage.ended.update(tally.ended)
        if event.tally.stages:
            self.audio_ms_now += event.tally.stages[0].audio_ms
        self.outcomes.update(event.outcomes)

    def pool_uses(self) -> list[PoolUse]:
        """Empty until a pool has done enough to tell: two units for each of its workers, behind the first."""
        uses = []
        for pool in self.start.pools:
            busy_s = sum(self._warm_busy_s[name] for name in pool.stages)
            passed_s = self._clock() - (self._warm_s or 0.0)
            if self._warm_units >= 2 * pool.workers and busy_s > 0 and passed_s > 0:
                uses.append(PoolUse(pool, busy_s / passed_s / pool.workers, self._warm_clips[pool.stages[0]] / busy_s))
        return uses

    @property
    def clips_done(self) -> int:
        return self.start.clips_done + self.clips_now

    @property
    def elapsed_s(self) -> float:
        return self._clock() - self._began

    @property
    def clips_per_s(self) -> float:
        return self.clips_now / self.elapsed_s if self.elapsed_s > 0 else 0.0

    @property
    def audio_hours_per_hour(self) -> float:
        return self.audio_ms_now / 1000 / self.elapsed_s if self.elapsed_s > 0 else 0.0

    @property
    def eta_s(self) -> float | None:
        left = self.start.clips - self.clips_done
        return left / self.clips_per_s if self.clips_per_s > 0 else None

    def ended_line(self) -> str:
        """`filtered/speech_word 12, failed/gone 3`, most frequent first; empty when nothing was lost."""
        lost = [(name, count) for name, count in self.outcomes.items() if name != "ok"]
        return ", ".join(f"{name} {count}" for name, count in sorted(lost, key=lambda item: (-item[1], item[0])))


def clock_text(seconds: float | None) -> str:
    """`1:02:03`, or `-` when unknown."""
    if seconds is None:
        return "-"
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"
