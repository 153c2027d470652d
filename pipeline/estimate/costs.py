"""From a plan's numbers to what it costs: plain arithmetic, every assumption a named value that is shown.

    costs = estimate(facts, recipe, rates)
    for line in lines(costs): ...

Requests follow the recipe of the road (docs/architecture.md): planning one extraction and one transcript a source,
running one download, one more extraction where the planned address has run out or there is none (lists that give their
clips), one more for pictures (`frame`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.config import Recipe
from pipeline.config_sources import GIVING_TYPES
from pipeline.estimate.facts import HERE, PlanFacts
from pipeline.estimate.probe import ModelRate

DAY_S = 86_400


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """What cannot be read off a plan."""

    #: Best audio-only format of a video: Opus or AAC at about 130 kbit/s.
    media_bytes_per_s: float = 16_000.0
    #: 16-bit mono FLAC of natural sound beside its samples (the demo's corpus: 0.48).
    flac_share: float = 0.5
    #: Units', columns' and compacted Parquet of a clip with its embedding and fingerprint.
    columns_bytes_per_clip: float = 8_000.0
    #: A signed media address lives so long (YouTube: 6 hours): later ones are extracted again.
    address_life_s: float = 6 * 3600.0


@dataclass(frozen=True, kw_only=True)
class SiteCosts:
    """What one site is asked, at its ceiling. `requests` are the run's, `plan_requests` those of planning."""

    site: str
    sources: int
    requests: int
    plan_requests: int
    requests_per_s: float
    bytes: int
    #: None of its sources says how long it is (lists with given clips do not): `bytes` is 0 then, and says nothing.
    size_unknown: bool = False

    @property
    def days(self) -> float:
        """Of the run; what is planned already is not counted."""
        return self.requests / self.requests_per_s / DAY_S

    @property
    def plan_days(self) -> float:
        return self.plan_requests / self.requests_per_s / DAY_S


@dataclass(frozen=True, kw_only=True)
class ModelCosts:
    """A model leg over all planned clips. `hours` None: its rate is not known."""

    leg: str
    clips: int
    clips_per_s: float | None
    told: str

    @property
    def hours(self) -> float | None:
        return self.clips / self.clips_per_s / 3600 if self.clips_per_s else None


@dataclass(frozen=True, kw_only=True)
class Costs:
    """A whole run. Bytes and disk are upper bounds: no clip is lost, no source is gone."""

    outcomes: Mapping[str, int]
    waiting: int
    clips: int
    audio_s: float
    sites: Sequence[SiteCosts]
    disk_bytes: int
    models: Sequence[ModelCosts]
    #: How many sources were asked where this is a sample, scaled up.
    sampled: int | None = None
    assumptions: Assumptions = field(default_factory=Assumptions)

    @property
    def sources(self) -> int:
        return sum(self.outcomes.values())

    @property
    def bytes(self) -> int:
        return sum(site.bytes for site in self.sites)

    @property
    def size_unknown(self) -> bool:
        """Whether `bytes` leaves a site out."""
        return any(site.size_unknown for site in self.sites)

    @property
    def requests(self) -> int:
        return sum(site.requests for site in self.sites)

    @property
    def days(self) -> float:
        """Sites are asked side by side: the slowest decides."""
        return max((site.days for site in self.sites), default=0.0)

    def as_json(self) -> dict[str, Any]:
        """Everything, with fixed keys."""
        models = [{**asdict(model), "hours": model.hours} for model in self.models]
        sites = [{**asdict(site), "days": site.days, "plan_days": site.plan_days} for site in self.sites]
        names = ("sources", "bytes", "size_unknown", "requests", "days")
        sums = {name: getattr(self, name) for name in names}
        return {**asdict(self), "outcomes": dict(self.outcomes), "sites": sites, "models": models, **sums}


def estimate(
    facts: PlanFacts,
    recipe: Recipe,
    rates: Sequence[ModelRate] = (),
    *,
    sampled: int | None = None,
    assumed: Assumptions | None = None,
) -> Costs:
    """What running this plan costs; `facts` may be those of a sample, scaled up (`sampled` says so)."""
    assumed = assumed or Assumptions()
    audio_s = facts.audio_ms / 1000
    raw_bytes_per_s = 2 * _cut_rate_hz(recipe)
    return Costs(
        outcomes=dict(facts.outcomes),
        waiting=facts.waiting.total(),
        clips=facts.clips,
        audio_s=audio_s,
        sites=[_site(name, facts, recipe, assumed) for name in sorted({*facts.sites, *facts.waiting} - {HERE})],
        disk_bytes=round(audio_s * raw_bytes_per_s * assumed.flac_share + facts.clips * assumed.columns_bytes_per_clip),
        models=[
            ModelCosts(leg=rate.leg, clips=facts.clips, clips_per_s=rate.clips_per_s, told=rate.told) for rate in rates
        ],
        sampled=sampled,
        assumptions=assumed,
    )


def _site(name: str, facts: PlanFacts, recipe: Recipe, assumed: Assumptions) -> SiteCosts:
    known = facts.sites.get(name)
    planned, media_ms = (known.planned, known.whole_media_ms) if known else (0, 0.0)
    rate = requests_per_s(recipe)
    plan_requests = 2 * facts.waiting[name]
    pictures = planned if _takes_pictures(recipe) else 0
    # Addresses found when planning are as old as the plan and the run so far: beyond their life, all but the first few.
    # Of a source whose list gives its clips nobody has asked for an address yet, nor how long it is.
    given = planned - known.timed if known and any(source.type in GIVING_TYPES for source in recipe.sources) else 0
    again = planned if (2 * planned + plan_requests) / rate > assumed.address_life_s else given
    return SiteCosts(
        site=name,
        sources=(known.sources if known else 0) + facts.waiting[name],
        requests=planned + again + pictures,
        plan_requests=plan_requests,
        requests_per_s=rate,
        bytes=round(media_ms / 1000 * assumed.media_bytes_per_s),
        size_unknown=known is not None and known.planned > 0 and known.timed == 0,
    )


def requests_per_s(recipe: Recipe) -> float:
    """What the recipe allows of one site, all its sessions together."""
    sessions = recipe.ytdlp.sessions
    own = recipe.ytdlp.requests_per_s
    together = sum(session.requests_per_s or own for session in sessions) if sessions else own
    return min(together, recipe.ytdlp.site_requests_per_s or together)


def _takes_pictures(recipe: Recipe) -> bool:
    return any(spec.use == "frame" for leg in recipe.legs.values() for spec in leg.stages)


def _cut_rate_hz(recipe: Recipe) -> int:
    for leg in recipe.legs.values():
        for spec in leg.stages:
            if spec.use == "cut":
                return int(spec.options.get("sample_rate_hz", 48_000))
    return 48_000
