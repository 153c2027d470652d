"""What a person sees while a run works: bars on a terminal, plain lines elsewhere (cron, Slurm, CI).

One bar for the leg and one for each of its stages, with clips/s and audio-hours per hour; below them what ended
clips, and the time to go. All of it goes to stderr: stdout is for results.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.text import Text

from pipeline.export import ExportProgress
from pipeline.follow import LegWaits
from pipeline.plan import PlanProgress
from pipeline.progress import LegSum, PoolUse, StageSum, clock_text
from pipeline.run import LegEnd, LegEvent, LegStart, UnitDone

#: Seconds between two plain lines of one leg.
PLAIN_EVERY_S = 5.0

#: Seconds between two lines of a leg that follows and has nothing to do.
WAITS_EVERY_S = 60.0


class Display:
    """`with Display() as display: display.show(event)` for each event of a run."""

    def __init__(self, stream: TextIO | None = None, live: bool | None = None) -> None:
        self._stream = stream or sys.stderr
        self._console = Console(file=self._stream, highlight=False)
        self._is_live = self._console.is_terminal if live is None else live
        self._leg: LegSum | None = None
        self._bars: _Bars | None = None
        self._next_line_s = 0.0

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_bars()

    def say(self, text: str) -> None:
        """A line of its own, above the bars if there are any."""
        self._console.print(Text(text), soft_wrap=True)

    @contextmanager
    def plan(self) -> Iterator[Callable[[PlanProgress], None]]:
        """A bar (or lines) for planning: yields what pipeline/plan.py calls as it goes."""
        bar = self._bar("plan", "sources")
        last = PlanProgress()

        def show(progress: PlanProgress) -> None:
            nonlocal last
            last = progress
            bar.update(task, total=progress.sources, completed=progress.done, text=_plan_text(progress))
            if not self._is_live and time.monotonic() >= self._next_line_s:
                self.say(f"plan  {progress.done}/{progress.sources} sources  {_plan_text(progress)}")
                self._next_line_s = time.monotonic() + PLAIN_EVERY_S

        self._next_line_s = time.monotonic() + PLAIN_EVERY_S
        with bar:
            task = bar.add_task("plan", total=None, text="")
            yield show
        if last.sources:
            self.say(f"plan  {last.done}/{last.sources} sources  {_plan_text(last)}")

    @contextmanager
    def export(self) -> Iterator[Callable[[ExportProgress], None]]:
        """A bar (or lines) for an export: yields what pipeline/export.py calls as it goes."""
        bar = self._bar("export", "shards")

        def show(progress: ExportProgress) -> None:
            text = f"{progress.samples_done}/{progress.samples} samples, {progress.bytes_written / 1e6:.1f} MB"
            bar.update(task, total=progress.shards, completed=progress.shards_done, text=text)
            if not self._is_live and time.monotonic() >= self._next_line_s:
                self.say(f"export  {progress.shards_done}/{progress.shards} shards  {text}")
                self._next_line_s = time.monotonic() + PLAIN_EVERY_S

        self._next_line_s = time.monotonic() + PLAIN_EVERY_S
        with bar:
            task = bar.add_task("export", total=None, text="")
            yield show

    def _bar(self, verb: str, things: str) -> Progress:
        """One bar that counts `things` and is gone when it is done; nothing when this is no terminal."""
        return Progress(
            TextColumn(verb),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TextColumn(f"{things}  {{task.fields[text]}}"),
            console=self._console,
            disable=not self._is_live,
            transient=True,
        )

    def show(self, event: LegEvent) -> None:
        if isinstance(event, LegStart):
            self._start(event)
        elif isinstance(event, LegWaits):
            self._wait(event)
        elif isinstance(event, UnitDone):
            self._unit(event)
        else:
            self._end(event)

    def _start(self, event: LegStart) -> None:
        self._leg = LegSum(event)
        done = f", {event.clips_done} clips of {event.units_done} units done already" if event.units_done else ""
        self.say(f"leg {event.leg}: {event.clips} clips in {event.units} units{done}; {' > '.join(event.stages)}")
        if self._is_live and event.units_done < event.units:
            self._bars = _Bars(self._console, self._leg)
        self._next_line_s = time.monotonic() + PLAIN_EVERY_S

    def _unit(self, event: UnitDone) -> None:
        assert self._leg is not None
        self._leg.add(event)
        if event.error is not None:
            self.say(f"unit {event.unit_id} not committed: {event.error}")
        if self._bars is not None:
            self._bars.update()
        elif time.monotonic() >= self._next_line_s:
            self.say(plain_line(self._leg))
            self._next_line_s = time.monotonic() + PLAIN_EVERY_S

    def _wait(self, event: LegWaits) -> None:
        if event.given_up or time.monotonic() >= self._next_line_s:
            self.say(f"leg {event.leg}: {event.text}; nothing to do for {clock_text(event.idle_s)}")
            self._next_line_s = time.monotonic() + WAITS_EVERY_S

    def _end(self, event: LegEnd) -> None:
        self._end_bars()
        assert self._leg is not None
        if event.committed:
            self.say(plain_line(self._leg))
            for stage in self._leg.stages.values():
                self.say(stage_line(stage))
            for use in self._leg.pool_uses():
                self.say(pool_line(use))
        undone = f", {event.undone} units still to do" if event.undone else ""
        self.say(f"leg {event.leg}: {event.committed} units committed in {clock_text(event.seconds)}{undone}")

    def _end_bars(self) -> None:
        if self._bars is not None:
            self._bars.close()
            self._bars = None


def _plan_text(progress: PlanProgress) -> str:
    return f"{progress.planned} planned, {progress.ended} ended, {progress.failed} failed; {progress.clips} clips"


def plain_line(leg: LegSum) -> str:
    """`models  48/96 clips  3.2 clips/s  9 audio-h/h  ETA 0:15  ended: failed/gone 2`."""
    parts = [
        f"{leg.start.leg}",
        f"{leg.clips_done}/{leg.start.clips} clips",
        f"{leg.clips_per_s:.1f} clips/s",
        f"{leg.audio_hours_per_hour:.0f} audio-h/h",
        f"ETA {clock_text(leg.eta_s)}",
    ]
    if ended := leg.ended_line():
        parts.append(f"ended: {ended}")
    if leg.failed_units:
        parts.append(f"units not committed: {leg.failed_units}")
    return "  ".join(parts)


def stage_line(stage: StageSum) -> str:
    """One stage's share: clips in and out, its own speed while busy, what it ended."""
    ended = ", ".join(f"{name} {count}" for name, count in stage.ended.most_common())
    text = (
        f"  {stage.name:<12} {stage.clips_in:>7} in {stage.clips_out:>7} out"
        f"  {stage.clips_per_busy_s:>8.1f} clips/s busy  {stage.audio_hours_per_busy_hour:>7.0f} audio-h/h"
    )
    return f"{text}  {ended}" if ended else text


def pool_line(use: PoolUse) -> str:
    """How much of the models' own speed the pipeline keeps: 100 % is a worker that never waits."""
    workers = f"{use.pool.workers} worker{'s' if use.pool.workers > 1 else ''}"
    return (
        f"  pool {use.pool.name}: {workers} busy {100 * min(use.busy, 1.0):.0f} % of the time after the first unit; "
        f"{'+'.join(use.pool.stages)} alone {use.clips_per_busy_s:.1f} clips/s a worker"
    )


class _Bars:
    """The live part: a bar per leg and stage, and the reasons below."""

    def __init__(self, console: Console, leg: LegSum) -> None:
        self._leg = leg
        self._progress = Progress(
            TextColumn("{task.description:<14}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            console=console,
        )
        total = leg.start.clips
        self._whole = self._progress.add_task(f"leg {leg.start.leg}", total=total, completed=leg.clips_done, rate="")
        self._stages: dict[str, TaskID] = {
            name: self._progress.add_task(f"  {name}", total=total - leg.clips_done, rate="") for name in leg.stages
        }
        self._live = Live(self._render(), console=console, refresh_per_second=4, transient=True)
        self._live.start()

    def update(self) -> None:
        leg = self._leg
        rate = f"{leg.clips_per_s:.1f} clips/s {leg.audio_hours_per_hour:.0f} audio-h/h ETA {clock_text(leg.eta_s)}"
        self._progress.update(self._whole, completed=leg.clips_done, rate=rate)
        for name, task in self._stages.items():
            stage = leg.stages[name]
            text = f"{stage.clips_per_busy_s:.0f} clips/s {stage.audio_hours_per_busy_hour:.0f} audio-h/h"
            self._progress.update(task, completed=leg.clips_now, rate=text)
        self._live.update(self._render())

    def _render(self) -> Group:
        ended = self._leg.ended_line()
        return Group(self._progress, Text(f"ended: {ended}" if ended else ""))

    def close(self) -> None:
        self.update()
        self._live.stop()
