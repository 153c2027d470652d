"""The verb report: from a run folder to one page. `build` is all of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from markupsafe import Markup

from corpus.view_query import PRESETS
from pipeline.players import Players
from pipeline.report import plots
from pipeline.report.cards import cards
from pipeline.report.facts import PAPER_OF_SCORED, PAPER_OF_XL, Facts, PresetCount, collect
from pipeline.report.page import render
from pipeline.runfolder import open_store

#: Reasons that the plot shows; the table has all.
_REASONS_DRAWN = 25


def build(
    run: str,
    *,
    threshold: float | None = None,
    preset_model: str | None = None,
    examples: int = 20,
    only_legs: Sequence[str] = (),
) -> bytes:
    """The report of a run folder as an HTML page. Reads it, and writes nothing but compacted files.

    `threshold`: show the clips nearest to it (default: the scorer's MQ); `preset_model`: the scorer whose scores are
    shown, where there are several. Raises ReportError, OtherRun, CompactionError.
    """
    facts = collect(run, threshold=threshold, preset_model=preset_model, examples=examples, only_legs=only_legs)
    players = Players(open_store(run))
    counts = facts.status.counts
    endings = sorted((ending for step in facts.steps for ending in step.endings), key=lambda one: -one.clips)
    parts = {name: counts.source_total(name) for name in ("planned", "ended", "failed")}
    reasons = ", ".join(f"{name} {count}" for name, count in counts.sources.most_common() if "/" in name)
    return render(
        "report.html.j2",
        facts=facts,
        status=facts.status,
        sources={"total": counts.sources.total(), "reasons": reasons, **parts},
        pending="; ".join(_pending(facts)),
        endings=endings,
        preset_rows=list(_preset_rows(facts)),
        funnel_plot=_funnel_plot(facts),
        losses_plot=_losses_plot(endings),
        clap_plot=Markup(plots.clap_histogram(facts)) if facts.scored else "",
        measures_plot=_markup(plots.distributions(facts)),
        **{
            name: cards(((clip, None) for clip in getattr(facts, name)), players)
            for name in ("best", "nearest", "worst")
        },
    )


def _markup(svg: str | None) -> Markup | None:
    """Our own plots, and nothing else, go into the page as they are."""
    return None if svg is None else Markup(svg)


def _pending(facts: Facts) -> Iterator[str]:
    units = facts.status.units
    for leg in facts.status.counts.legs:
        if leg.units_done < units:
            yield f"leg {leg.leg} has {units - leg.units_done} of {units} units still to do"


def _funnel_plot(facts: Facts) -> Markup | None:
    if not facts.steps:
        return None
    rows = [("clips planned", facts.status.planned), *((step.name, step.clips) for step in facts.steps)]
    rows += [(f"preset {one.name}", one.clips) for one in facts.presets if not one.refusal]
    names, clips = [name for name, _ in rows], [count for _, count in rows]
    return Markup(plots.bars(names, clips, name="funnel", label="Clips that are left after each step"))


def _losses_plot(endings: list[Any]) -> Markup | None:
    shown = endings[:_REASONS_DRAWN]
    if not shown:
        return None
    names = [f"{one.outcome} / {one.reason}" for one in shown]
    clips = [one.clips for one in shown]
    return Markup(plots.bars(names, clips, name="losses", label="Clips that were ended, by reason"))


def _preset_rows(facts: Facts) -> Iterator[dict[str, Any]]:
    values = {one.name: one.value for one in facts.thresholds}
    scored = facts.models.total()
    whole = next((one.clips for one in facts.presets if one.name == "AutoReCapXL" and not one.refusal), 0)
    for preset in facts.presets:
        longer = PRESETS[preset.name].min_duration_s
        yield {
            "preset": preset,
            "threshold": f"{values[PRESETS[preset.name].subset]:g}" + (f", over {longer:g} s" if longer else ""),
            "of_scored": preset.clips / scored if scored else None,
            "of_xl": preset.clips / whole if whole else None,
            "paper": _paper(preset),
        }


def _paper(preset: PresetCount) -> str:
    if preset.name in PAPER_OF_SCORED:
        return f"{100 * PAPER_OF_SCORED[preset.name]:g} % of the scored"
    return f"{100 * PAPER_OF_XL[preset.name]:g} % of AutoReCapXL"
