"""What a leg's driver tells the metrics: sums over the units that came back, and how much there is to do.

The driver hears of each unit once, whoever worked it and however often: its counters survive the workers, which come
and go. Only what a driver cannot know in time is told by workers themselves (`told_by` in pipeline/metrics.py).
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from pipeline.events import LegStart, UnitDone
from pipeline.metrics import RayMetrics

#: How often the governor's figures are told; Ray's agents have new ones as often.
TELL_EVERY_S = 10.0
#: A session's states at a site (stages/gate.py).
STATES = ("open", "cooling down", "quarantined", "on trial")

Snapshot = Callable[[], Mapping[str, Mapping[str, Any]]]


class LegMeter:
    """One leg of one driver, from its first wave to `end`."""

    def __init__(self, metrics: RayMetrics, start: LegStart) -> None:
        self._metrics = metrics
        self._leg = start.leg
        self._pool_of = {stage: pool.name for pool in start.pools for stage in pool.stages}
        self._pools = {pool.name: pool.workers for pool in start.pools}
        self._planned, self._done, self._in_flight = start.units, start.units_done, 0

    def hand(self, units: int) -> None:
        """So many units are given to Ray, which runs."""
        self._in_flight = units
        self._planned = max(self._planned, self._done + units)  # a followed leg hands over more and more
        self._working(1)
        self._backlog()

    def unit(self, event: UnitDone) -> None:
        """A unit came back."""
        leg, metrics = self._leg, self._metrics
        self._in_flight = max(0, self._in_flight - 1)
        if event.error is not None:
            metrics.count("autorecap_units_total", leg=leg, result="failed")
            self._backlog()
            return
        self._done += 1
        metrics.count("autorecap_units_total", leg=leg, result="committed")
        metrics.set("autorecap_last_commit_timestamp_seconds", time.time(), leg=leg)
        metrics.count("autorecap_audio_seconds_total", event.audio_ms / 1000, leg=leg)
        for ending, clips in event.outcomes.items():
            outcome, _, reason = ending.partition("/")
            metrics.count("autorecap_clips_total", clips, leg=leg, outcome=outcome, reason=reason)
        metrics.observe("autorecap_commit_seconds", event.tally.commit_seconds, leg=leg)
        metrics.count("autorecap_committed_bytes_total", event.tally.commit_bytes, leg=leg)
        self._stages(event)
        self._backlog()

    def _stages(self, event: UnitDone) -> None:
        leg, metrics = self._leg, self._metrics
        for tally in event.tally.stages:
            stage, pool = tally.stage, self._pool_of.get(tally.stage, "tasks")
            metrics.observe("autorecap_stage_unit_seconds", tally.seconds, leg=leg, stage=stage)
            metrics.count("autorecap_stage_busy_seconds_total", tally.seconds, leg=leg, stage=stage, pool=pool)
            passed_ms = tally.audio_ms - sum(tally.ended_ms.values())
            for name, sums in (
                ("autorecap_stage_clips_total", {"passed/": tally.clips_out, **tally.ended}),
                ("autorecap_stage_audio_seconds_total", _in_seconds({"passed/": passed_ms, **tally.ended_ms})),
            ):
                for ending, value in sums.items():
                    outcome, _, reason = ending.partition("/")
                    metrics.count(name, value, leg=leg, stage=stage, outcome=outcome, reason=reason)

    def end(self) -> None:
        """The leg has no more to do for now, or was stopped."""
        self._in_flight = 0
        self._backlog()
        self._working(0)

    def lost(self, units: int) -> None:
        """So many units took all their workers with them: each is worked by itself now."""
        self._metrics.count("autorecap_units_lost_total", units, leg=self._leg)

    def _working(self, yes: int) -> None:
        self._metrics.set("autorecap_leg_running", yes, leg=self._leg)
        for name, workers in self._pools.items():
            self._metrics.set("autorecap_pool_workers", yes * workers, leg=self._leg, pool=name)

    def _backlog(self) -> None:
        for state, units in (("planned", self._planned), ("done", self._done), ("in_flight", self._in_flight)):
            self._metrics.set("autorecap_units", units, leg=self._leg, state=state)


def _in_seconds(sums_ms: Mapping[str, int]) -> dict[str, float]:
    return {name: value / 1000 for name, value in sums_ms.items()}


class SiteMeter:
    """What the governor has heard, told as it grows, by a thread of the process that the governor lives in.

    So that it is told once, however many drivers there are; `run` is `cluster`, since the governor is one for all runs.
    """

    def __init__(self, metrics: RayMetrics, snapshot: Snapshot) -> None:
        self._metrics = metrics
        self._snapshot = snapshot
        self._told: dict[tuple[str, ...], float] = {}

    def start(self) -> None:
        """Tell every `TELL_EVERY_S` from now on, as long as the process lives."""
        threading.Thread(target=self._go, name="site-meter", daemon=True).start()

    def _go(self) -> None:
        while True:
            self.tell()
            time.sleep(TELL_EVERY_S)

    def tell(self) -> None:
        """Once, now."""
        for site, told in self._snapshot().items():
            for outcome, requests in told["outcomes"].items():
                grown = self._grown(requests, site, outcome)
                self._metrics.count("autorecap_requests_total", grown, site=site, outcome=outcome)
            states = Counter(session["state"] for session in told["sessions"].values())
            for state in STATES:
                self._metrics.set("autorecap_site_sessions", states[state], site=site, state=state)
            waited_s = sum(session["waited_s"] for session in told["sessions"].values())
            self._metrics.count("autorecap_site_turns_waited_seconds_total", self._grown(waited_s, site), site=site)

    def _grown(self, value: float, *key: str) -> float:
        """Since the last time; all of it for a site that had been forgotten meanwhile."""
        before, self._told[key] = self._told.get(key, 0.0), value
        return value - before if value >= before else value
