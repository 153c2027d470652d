"""What a run tells Prometheus: every metric by name, and the object that hands values to Ray (docs/metrics.md).

    metrics = RayMetrics(run_name("s3://bucket/runs/autorecap_xl"))
    metrics.count("autorecap_fetched_bytes_total", 1_048_576, site="example.org")

Ray's agent on each node answers Prometheus with them, as `ray_autorecap_...`; without `ray[default]` (the extra
`cluster`) there is no such agent and a value costs the same few microseconds and goes nowhere. Values are handed over
per unit, per download and per leg, never per clip.

Labels are bounded: no clip, source, unit or URL is one, and of what strangers or users name (sites, stages, reasons)
a process tells `MAX_VALUES` apart and calls the rest `other`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

from stages.base import Metrics

log = logging.getLogger(__name__)

#: Values of one label of one metric that a process tells apart.
MAX_VALUES = 64
#: How often gauges are told again: half the time between two reports of a process to its node's agent.
AGAIN_S = 5.0
#: Seconds of a unit: from a no-op stage on 128 clips to an hour of downloads.
UNIT_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
#: Seconds of a commit: from a local disk to a slow object store.
COMMIT_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


@dataclass(frozen=True)
class Metric:
    """`labels` beside `run`, which all have. `told_by`: the driver, the worker that did the thing, or the governor."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    means: str
    told_by: Literal["driver", "worker", "governor"] = "driver"
    buckets: tuple[float, ...] = ()


METRICS = (
    Metric(
        "autorecap_units",
        "gauge",
        ("leg", "state"),
        "Units by state: planned, done, in_flight (given to Ray, not back yet)",
    ),
    Metric("autorecap_units_total", "counter", ("leg", "result"), "Units that came back: committed or failed"),
    Metric(
        "autorecap_units_lost_total", "counter", ("leg",), "Units whose workers died until their tries were used up"
    ),
    Metric("autorecap_clips_total", "counter", ("leg", "outcome", "reason"), "Clips of committed units, as left"),
    Metric("autorecap_audio_seconds_total", "counter", ("leg",), "Planned audio of committed clips that are ok"),
    Metric(
        "autorecap_stage_clips_total",
        "counter",
        ("leg", "stage", "outcome", "reason"),
        "Clips that a stage handed on (outcome passed) or ended",
    ),
    Metric(
        "autorecap_stage_audio_seconds_total",
        "counter",
        ("leg", "stage", "outcome", "reason"),
        "Planned audio of the clips that a stage handed on (outcome passed) or ended",
    ),
    Metric(
        "autorecap_stage_unit_seconds",
        "histogram",
        ("leg", "stage"),
        "Seconds that a stage worked on one unit",
        buckets=UNIT_SECONDS,
    ),
    Metric(
        "autorecap_stage_busy_seconds_total",
        "counter",
        ("leg", "stage", "pool"),
        "Seconds that a stage worked; a pool's rate over autorecap_pool_workers is its busy share",
    ),
    Metric("autorecap_pool_workers", "gauge", ("leg", "pool"), "Workers of a pool while its leg runs"),
    Metric(
        "autorecap_commit_seconds",
        "histogram",
        ("leg",),
        "Seconds of one commit: tar, Parquet, and their way into the store",
        buckets=COMMIT_SECONDS,
    ),
    Metric("autorecap_committed_bytes_total", "counter", ("leg",), "Bytes of audio and columns that were committed"),
    Metric("autorecap_fetched_bytes_total", "counter", ("site",), "Bytes of media that were downloaded", "worker"),
    Metric(
        "autorecap_requests_total",
        "counter",
        ("site", "outcome"),
        "Requests by site, as the governor heard of them",
        "governor",
    ),
    Metric(
        "autorecap_site_sessions",
        "gauge",
        ("site", "state"),
        "Sessions by site and state: open, quarantined, ...",
        "governor",
    ),
    Metric(
        "autorecap_site_turns_waited_seconds_total",
        "counter",
        ("site",),
        "Seconds of waiting for a turn at a site",
        "governor",
    ),
    Metric("autorecap_leg_running", "gauge", ("leg",), "1 while a driver works at the leg, 0 when it has ended"),
    Metric("autorecap_last_commit_timestamp_seconds", "gauge", ("leg",), "When the driver last heard of a commit"),
)
BY_NAME = {metric.name: metric for metric in METRICS}


def run_name(run_root: str) -> str:
    """The label `run`: the run folder's own name."""
    return PurePosixPath(run_root).name or "run"


class RayMetrics(Metrics):
    """Hands values to Ray, and forgets them where Ray does not run. What `METRICS` lacks is said once in the log."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._made: dict[str, Any] = {}
        self._seen: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        self._stand: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}

    def count(self, name: str, value: float = 1.0, **tags: str) -> None:
        """Add to a counter; nothing for a value of 0 or less."""
        if value > 0 and (counter := self._get(name, "counter", tags)):
            counter.inc(value, tags=self._bounded(name, tags))

    def observe(self, name: str, value: float, **tags: str) -> None:
        """One more value of a histogram."""
        if histogram := self._get(name, "histogram", tags):
            histogram.observe(value, tags=self._bounded(name, tags))

    def set(self, name: str, value: float, **tags: str) -> None:
        """What a gauge stands at from now on. Ray forgets a gauge that is not told again: a thread does that."""
        if gauge := self._get(name, "gauge", tags):
            bounded = self._bounded(name, tags)
            gauge.set(value, tags=bounded)
            if not self._stand:
                threading.Thread(target=self._tell_again, name="gauges", daemon=True).start()
            self._stand[name, tuple(bounded.items())] = value

    def _tell_again(self) -> None:
        import ray

        while ray.is_initialized():
            for (name, tags), value in list(self._stand.items()):
                self._made[name].set(value, tags=dict(tags))
            time.sleep(AGAIN_S)
        self._stand.clear()

    def _get(self, name: str, kind: str, tags: dict[str, str]) -> Any:
        """None where there is nothing to tell it to: no Ray yet, or no such metric."""
        import ray

        if not ray.is_initialized():
            return None
        if name not in self._made:
            metric = BY_NAME.get(name)
            fits = metric is not None and metric.kind == kind and set(metric.labels) == set(tags)
            if not fits:
                log.warning("no %s %s with labels %s is known: see docs/metrics.md", kind, name, sorted(tags))
            self._made[name] = _make(metric) if metric is not None and fits else None
        return self._made[name]

    def _bounded(self, name: str, tags: dict[str, str]) -> dict[str, str]:
        bounded = {"run": self._run}
        for label, value in tags.items():
            seen = self._seen[name, label]
            if value not in seen and len(seen) >= MAX_VALUES:
                bounded[label] = "other"
            else:
                seen.add(value)
                bounded[label] = value[:64]
        return bounded


def _make(metric: Metric) -> Any:
    from ray.util import metrics

    labels = ("run", *metric.labels)
    if metric.kind == "histogram":
        return metrics.Histogram(metric.name, metric.means, boundaries=list(metric.buckets), tag_keys=labels)
    return {"counter": metrics.Counter, "gauge": metrics.Gauge}[metric.kind](metric.name, metric.means, tag_keys=labels)
