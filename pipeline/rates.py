"""How fast a run's legs have gone, read from the logs of their last start: clips/s, audio-hours per hour, by stage.

Rates are of the clock, so they live in logs (`units.jsonl`) and never in the corpus.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from corpus.store import Store

#: Lines read from the end of a start's log: the last units tell the present rate.
LAST_UNITS = 2_000


@dataclass
class LegRate:
    """The last start of a leg: units it committed from the first to the last, and what its stages did while busy."""

    leg: str
    units: int = 0
    clips: int = 0
    audio_ms: int = 0
    seconds: float = 0.0
    stages: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def clips_per_s(self) -> float | None:
        """None when there is too little to tell."""
        return self.clips / self.seconds if self.seconds > 0 else None

    def as_json(self) -> dict[str, Any]:
        rate = self.clips_per_s
        return {
            "clips_per_s": None if rate is None else round(rate, 2),
            "audio_hours_per_hour": None if rate is None else round(self.audio_ms / 1000 / self.seconds, 1),
            "stages": {
                name: {"clips_per_busy_s": round(stage["clips"] / stage["seconds"], 1)}
                for name, stage in self.stages.items()
                if stage["seconds"] > 0
            },
        }


def leg_rates(store: Store) -> dict[str, LegRate]:
    """Per leg, the rate of the last start that committed units of it."""
    rates: dict[str, LegRate] = {}
    for path in sorted(path for path in store.list("logs") if path.endswith("/units.jsonl")):
        lines = store.read(path).decode("utf-8", errors="replace").splitlines()[-LAST_UNITS:]
        rates.update(_of_start([record for line in lines if (record := _record(line))]))
    return rates


def _record(line: str) -> dict[str, Any] | None:
    """A line's record; None for a line that a crash cut short, and for a unit that was not committed."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and record.get("error") is None else None


def _of_start(records: list[dict[str, Any]]) -> dict[str, LegRate]:
    rates: dict[str, LegRate] = {}
    times: dict[str, list[datetime]] = {}
    for record in records:
        rate = rates.setdefault(record["leg"], LegRate(record["leg"]))
        seen = times.setdefault(record["leg"], [])
        seen.append(datetime.fromisoformat(record["time"]))
        rate.units += 1
        if len(seen) > 1:  # the first unit's own time is not known: it only starts the clock
            rate.clips += record["clips"]
            rate.audio_ms += record["stages"][0]["audio_ms"] if record["stages"] else 0
        for stage in record["stages"]:
            sums = rate.stages.setdefault(stage["stage"], {"clips": 0, "seconds": 0.0})
            sums["clips"] += stage["clips_in"]
            sums["seconds"] += stage["seconds"]
    for leg, seen in times.items():
        rates[leg].seconds = (max(seen) - min(seen)).total_seconds()
    return rates
