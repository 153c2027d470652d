"""What a plan holds, summed up part by part: the numbers that every cost follows from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa

from corpus import plan_store
from corpus.latest import latest_sources
from corpus.store import Store

#: Sites that are named; what else is asked is counted together.
SITES = 20

OTHERS = "other sites"

#: What is not behind a URL costs no request.
HERE = "files"


@dataclass
class SiteFacts:
    """What is wanted of one site. `timed` of its planned sources say how long they are: `media_ms` in all."""

    sources: int = 0
    planned: int = 0
    clips: int = 0
    timed: int = 0
    media_ms: int = 0

    def add(self, other: SiteFacts) -> None:
        self.sources += other.sources
        self.planned += other.planned
        self.clips += other.clips
        self.timed += other.timed
        self.media_ms += other.media_ms

    @property
    def whole_media_ms(self) -> float:
        """Of all planned sources: those that do not say their length are taken for as long as the others."""
        return self.media_ms * self.planned / self.timed if self.timed else 0.0


@dataclass
class PlanFacts:
    """A plan, or a sample of one: sources by outcome and site, clips and their audio."""

    outcomes: Counter[str] = field(default_factory=Counter)
    sites: dict[str, SiteFacts] = field(default_factory=dict)
    clips: int = 0
    audio_ms: int = 0
    #: Listed and not yet planned, by site.
    waiting: Counter[str] = field(default_factory=Counter)

    @property
    def sources(self) -> int:
        return self.outcomes.total()

    def add_source(self, site: str, outcome: str, clips: int, audio_ms: int, media_ms: int | None) -> None:
        """One planned (or tried) source."""
        self.outcomes[outcome] += 1
        self.clips += clips
        self.audio_ms += audio_ms
        facts = self.sites.setdefault(site, SiteFacts())
        facts.sources += 1
        if outcome == "planned":
            facts.add(SiteFacts(0, 1, clips, int(media_ms is not None), media_ms or 0))

    def times(self, factor: float) -> PlanFacts:
        """What so many times as many sources of the same kind would hold."""

        def more(count: int) -> int:
            return round(count * factor)

        sites = {
            name: SiteFacts(more(f.sources), more(f.planned), more(f.clips), more(f.timed), more(f.media_ms))
            for name, f in self.sites.items()
        }
        outcomes = Counter({name: more(count) for name, count in self.outcomes.items()})
        return PlanFacts(outcomes, sites, more(self.clips), more(self.audio_ms))

    def with_few_sites(self) -> PlanFacts:
        """The sites with the most sources by name, the others in one."""
        wanted = self.waiting + Counter({name: facts.sources for name, facts in self.sites.items()})
        first = sorted(wanted, key=lambda name: (-wanted[name], name))
        named = set(first[:SITES]) | {HERE}
        sites: dict[str, SiteFacts] = {}
        for name in (name for name in first if name in self.sites):
            sites.setdefault(name if name in named else OTHERS, SiteFacts()).add(self.sites[name])
        waiting: Counter[str] = Counter()
        for name, count in self.waiting.items():
            waiting[name if name in named else OTHERS] += count
        return PlanFacts(self.outcomes, sites, self.clips, self.audio_ms, waiting)


def site_of(kind: str, location: str) -> str:
    """The host that a listed source is asked of, or HERE."""
    if kind != "url":
        return HERE
    try:
        return (urlsplit(location).hostname or OTHERS).removeprefix("www.")
    except ValueError:
        return OTHERS


def plan_facts(store: Store) -> PlanFacts:
    """Of all parts that are planned, each source as its latest attempt left it; of the others what is listed."""
    facts = PlanFacts()
    for part, sources in latest_sources(store, ["source_key", "outcome", "clips", "duration_ms"]):
        inputs = plan_store.read_inputs(store, part, ["source_key", "kind", "location"])
        site_of_key = dict(zip(inputs.column("source_key").to_pylist(), _sites(inputs), strict=True))
        for key, outcome, clips, duration_ms in _rows(sources, *sources.column_names):
            facts.add_source(site_of_key.get(key, OTHERS), outcome, clips, 0, duration_ms)
        facts.audio_ms += sum(info.audio_ms for info in plan_store.units_of(store, part))
    planned = set(plan_store.planned_parts(store))
    for part in plan_store.parts(store):
        if part not in planned:
            facts.waiting.update(_sites(plan_store.read_inputs(store, part, ["kind", "location"])))
    return facts.with_few_sites()


def _sites(inputs: pa.Table) -> list[str]:
    return [site_of(*row) for row in _rows(inputs, "kind", "location")]


def _rows(table: pa.Table, *names: str) -> Iterable[tuple[Any, ...]]:
    return zip(*(table.column(name).to_pylist() for name in names), strict=True)
