"""A run in numbers, for eyes and for programs: sources, clips, reasons, and the yield from sources to views."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from corpus.counts import Counts, count_outcomes
from corpus.schema import OUTCOMES
from corpus.store import Store
from pipeline.rates import LegRate, leg_rates
from pipeline.runfolder import legs_of, retries_of


@dataclass(frozen=True)
class Status:
    """What `autorecap status` shows."""

    run: str
    counts: Counts
    views: Mapping[str, Mapping[str, Any]]
    exports: Mapping[str, Mapping[str, Any]]
    rates: Mapping[str, LegRate]
    starts_from: Mapping[str, str | None]  # leg -> the leg it goes on from

    @property
    def planned(self) -> int:
        return self.counts.planned_clips

    @property
    def planned_hours(self) -> float:
        return self.counts.planned_audio_ms / 3_600_000

    @property
    def units(self) -> int:
        return self.counts.units

    def as_json(self) -> dict[str, Any]:
        """Everything, with fixed keys."""
        counts = self.counts
        return {
            "run": self.run,
            "planned": counts.planned_clips,
            "planned_hours": round(self.planned_hours, 4),
            "units": counts.units,
            "sources": {
                "total": counts.sources.total(),
                **{outcome: counts.source_total(outcome) for outcome in ("planned", "ended", "failed")},
                "reasons": _reasons(counts.sources),
            },
            **self._clips(),
            "legs": {
                leg.leg: {
                    "units_done": leg.units_done,
                    "clips_done": leg.clips_done,
                    **{outcome: leg.total(outcome) for outcome in OUTCOMES},
                    "retries": leg.retries,
                    "retried_clips": leg.retried_clips,
                    **({} if leg.duplicates is None else {"duplicates": leg.duplicates}),
                    "reasons": _reasons(leg.outcomes),
                    "ok_hours": round(leg.ok_audio_ms / 3_600_000, 4),
                    "rate": self.rates[leg.leg].as_json() if leg.leg in self.rates else None,
                }
                for leg in counts.legs
            },
            "views": {name: dict(view) for name, view in self.views.items()},
            "exports": {name: dict(export) for name, export in self.exports.items()},
        }

    def _clips(self) -> dict[str, int]:
        """The run's clips by outcome, as the last leg has them; what it has not committed is pending."""
        last = self.counts.last
        if last is None:
            return {**dict.fromkeys(OUTCOMES, 0), "pending": self.counts.planned_clips}
        return {
            **{outcome: last.total(outcome) for outcome in OUTCOMES},
            "pending": self.counts.planned_clips - last.clips_done,
        }

    def source_lines(self) -> list[str]:
        """Sources: planned + ended + failed, and why."""
        counts = self.counts
        totals = {outcome: counts.source_total(outcome) for outcome in ("planned", "ended", "failed")}
        lines = [
            f"sources: {counts.sources.total()} = {totals['planned']} planned + {totals['ended']} ended"
            f" + {totals['failed']} failed"
        ]
        return lines + [f"  {name:<28} {count:>8}" for name, count in counts.sources.items() if "/" in name]

    def clip_lines(self) -> list[str]:
        """Clips leg by leg, with every reason."""
        lines = []
        for leg in self.counts.legs:
            sums = " + ".join(f"{leg.total(outcome)} {outcome}" for outcome in OUTCOMES)
            left = self.counts.units - leg.units_done
            pending = f"; {left} of {self.counts.units} units to do" if left else ""
            if leg.retries:
                pending += f"; {leg.retries} retries ({leg.retried_clips} clips) to do"
            lines.append(f"leg {leg.leg}: {leg.clips_done} clips = {sums}{pending}{self._rate_text(leg.leg)}")
            reasons = [(name, count) for name, count in leg.outcomes.items() if "/" in name]
            lines += [f"  {name:<28} {count:>8}" for name, count in sorted(reasons, key=lambda item: -item[1])]
            if leg.duplicates is not None:
                lines.append(f"  {'ok, but a copy is kept':<28} {leg.duplicates:>8}")
        return lines

    def _rate_text(self, leg: str) -> str:
        """How fast the last start of the leg went; nothing when its log is too short to tell."""
        rate = self.rates.get(leg)
        if rate is None or rate.clips_per_s is None:
            return ""
        return (
            f"; {rate.clips_per_s:.1f} clips/s, {rate.audio_ms / 1000 / rate.seconds:.0f} audio-h/h in its last start"
        )

    def funnel_lines(self) -> list[str]:
        """From sources to exported clips: how many are left at each step, as a share of the step before."""
        steps: list[tuple[str, int]] = [
            ("sources", self.counts.sources.total()),
            ("sources planned", self.counts.source_total("planned")),
            ("clips planned", self.counts.planned_clips),
        ]
        left = {leg.leg: leg.total("ok") - (leg.duplicates or 0) for leg in self.counts.legs}
        steps += [(f"ok after {leg}", count) for leg, count in left.items()]
        before_leg = {f"ok after {leg}": left.get(self.starts_from.get(leg) or "") for leg in left}
        width = max(len(name) for name, _ in [*steps, ("", 0)]) + 2
        lines = ["", "yield"]
        most = max((count for _, count in steps[2:]), default=0) or 1
        before: int | None = None
        for at, (name, count) in enumerate(steps):
            before = before_leg.get(name) or before  # legs may lie side by side
            share = f"{100 * count / before:5.1f} %" if before and at != 2 else ""
            bar = "█" * round(30 * count / most) if at >= 2 else ""
            lines.append(f"  {name:<{width}}{count:>9}  {share:>8}  {bar}".rstrip())
            before = count
        for kind, found in (("view", self.views), ("export", self.exports)):
            for name, about in found.items():
                clips = int(about.get("clips", 0))
                lines.append(
                    f"  {kind + ' ' + name:<{width}}{clips:>9}            {'█' * round(30 * clips / most)}".rstrip()
                )
        return lines


def _reasons(counts: Counter[str]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if "/" in name}


def run_status(store: Store) -> Status:
    """Read a run's numbers from its folder."""
    legs = legs_of(store)
    return Status(
        run=store.root,
        counts=count_outcomes(store, list(legs), retries_of(legs)),
        views=_views(store),
        exports=_exports(store),
        rates=leg_rates(store),
        starts_from={name: leg.get("after") for name, leg in legs.items()},
    )


def _views(store: Store) -> dict[str, dict[str, Any]]:
    import json
    from pathlib import PurePosixPath

    views = {}
    for path in store.list("views"):
        if path.endswith(".json"):
            about = json.loads(store.read(path))
            views[PurePosixPath(path).stem] = {key: about[key] for key in ("clips", "hours", "legs") if key in about}
    return views


def _exports(store: Store) -> dict[str, dict[str, Any]]:
    import json

    exports = {}
    for path in store.list("shards"):
        if path.endswith("manifest.json"):
            about = json.loads(store.read(path))
            name = path.removesuffix("/manifest.json")
            exports[name] = {key: about[key] for key in ("clips", "shards", "bytes") if key in about}
    return exports
