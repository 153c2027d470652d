"""An estimate as lines for a person, and beside it, after the run, what it came to."""

from __future__ import annotations

from pipeline.estimate.costs import Costs, SiteCosts


def estimate_lines(costs: Costs) -> list[str]:
    """What the run will cost. Assumed values stand where they are used."""
    head = "estimate" if costs.sampled is None else f"estimate from a sample of {costs.sampled} sources"
    sums = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(costs.outcomes.items(), key=lambda o: -o[1]))
    lines = [
        f"{head}: {costs.sources:,} sources ({sums or 'none'}), {costs.clips:,} clips, {hours(costs.audio_s)} of audio"
    ]
    lines += [_site_line(costs, site) for site in costs.sites]
    if costs.waiting and costs.sampled is None:
        lines.append(f"  to plan   {costs.waiting:,} listed sources are not planned yet and not in these figures")
    lines.append(
        f"  disk      {size(costs.disk_bytes)}: FLAC at {costs.assumptions.flac_share:g} of its samples, "
        f"{size(costs.assumptions.columns_bytes_per_clip)} of columns a clip"
    )
    for model in costs.models:
        told = f"{model.clips_per_s:.3g} clips/s, {model.told}" if model.clips_per_s else model.told
        spent = "-" if model.hours is None else hours(model.hours * 3600)
        lines.append(f"  {model.leg:<9} {spent} of all its workers: {told}")
    return lines


def _site_line(costs: Costs, site: SiteCosts) -> str:
    parts = []
    if site.requests:
        fetched = f"{size(site.bytes)} at most to fetch ({costs.assumptions.media_bytes_per_s * 8 / 1000:g} kbit/s)"
        if site.size_unknown:
            fetched = "how much to fetch is not known (no list says how long its sources are)"
        parts.append(
            f"{fetched}, {site.requests:,} requests, "
            f"{duration(site.days * 86_400)} at {site.requests_per_s:g} requests/s"
        )
    if site.plan_requests:
        parts.append(f"planning: {site.plan_requests:,} requests, {duration(site.plan_days * 86_400)}")
    return f"  {'site':<9} {site.site}: {'; '.join(parts) or 'nothing to fetch'}"


def size(count: float) -> str:
    """Bytes, as 1.5 GB."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.4g} PB"


def hours(seconds: float) -> str:
    """Hours, as 1,234 h."""
    value = seconds / 3600
    return f"{value:,.0f} h" if value >= 100 else f"{value:.3g} h"


def duration(seconds: float) -> str:
    """The largest two of days, hours, minutes and seconds that say something."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 2 * 86_400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86_400:,.1f} days"
