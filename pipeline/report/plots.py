"""Plots as SVG for the inside of a page: matplotlib draws, and the page's own colours (light or dark) paint.

Text that strangers wrote is never put into a plot as markup: no `$formulas$`, and matplotlib escapes XML.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from pipeline.report.facts import MEASURES, SCORE_EDGES, Facts
from pipeline.shown import one_line

#: Colours that no plot uses, and the page's own that take their places.
_INK, _LINE, _BAR, _MARK = "#010203", "#010204", "#010205", "#010206"
_PAINT = {_INK: "var(--ink)", _LINE: "var(--line)", _BAR: "var(--bar)", _MARK: "var(--mark)"}

_STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 11,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _LINE,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,
}


@contextmanager
def _figure(width: float, height: float, plots: int = 1, columns: int = 1) -> Iterator[tuple[Any, list[Any]]]:
    """A figure with axes; no display, no state of the process is touched."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = [figure.add_subplot(-(-plots // columns), columns, at + 1) for at in range(plots)]
        yield figure, axes


def _svg(figure: Any, name: str, label: str) -> str:
    """The figure's <svg> alone, the same bytes for the same plot. `label` is what a screen reader says."""
    import matplotlib as mpl
    from markupsafe import escape

    out = io.StringIO()
    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        blank = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(out, format="svg", transparent=True, metadata=blank)
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)  # figure_1, axes_1, ...: the same in every plot
    for name_, painted in _PAINT.items():
        text = text.replace(name_, painted)
    return text.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1)


def bars(names: Sequence[str], counts: Sequence[int], *, name: str, label: str) -> str:
    """Horizontal bars from the top down, each with its number."""
    with _figure(9.5, 0.6 + 0.3 * len(names)) as (figure, (axes,)):
        places = np.arange(len(names))
        drawn = axes.barh(places, counts, color=_BAR, height=0.72)
        axes.set_yticks(places, [one_line(text, 48) for text in names])
        axes.invert_yaxis()
        axes.bar_label(drawn, [f"{count:,}" for count in counts], color=_INK, padding=4)
        axes.set_xticks([])
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        axes.margins(x=0.12)
        return _svg(figure, name, label)


def clap_histogram(facts: Facts) -> str:
    """Scored clips by score, with a line for each threshold."""
    counts = facts.score_counts
    used = np.flatnonzero(counts)
    shown = [one.value for one in facts.thresholds]
    low = min(SCORE_EDGES[used[0]], *shown) - 0.04
    high = max(SCORE_EDGES[used[-1] + 1], *shown) + 0.04
    with _figure(9.5, 3.4) as (figure, (axes,)):
        axes.bar(SCORE_EDGES[:-1], counts, np.diff(SCORE_EDGES), align="edge", color=_BAR, edgecolor=_LINE, lw=0.4)
        top = counts.max() * 1.18
        for number, one in enumerate(facts.thresholds):
            axes.axvline(one.value, color=_MARK, lw=1.4)
            place = (one.value, top * (1 - 0.07 * number))
            text = f"{one.name} {one.value:g}"
            axes.annotate(text, place, (4, 0), textcoords="offset points", color=_MARK, va="top")
        axes.set(xlim=(low, high), ylim=(0, top), xlabel="CLAP score of clip and caption", ylabel="clips")
        label = f"Histogram of {facts.scored} CLAP scores with the thresholds " + ", ".join(
            f"{one.name} {one.value:g}" for one in facts.thresholds
        )
        return _svg(figure, "clap", label)


def distributions(facts: Facts) -> str | None:
    """A small histogram for each measure that any clip has."""
    measures = [one for one in MEASURES if one.column in facts.measured and facts.measured[one.column].any()]
    if not measures:
        return None
    rows = -(-len(measures) // 3)
    with _figure(9.5, 2.3 * rows, len(measures), 3) as (figure, all_axes):
        for axes, measure in zip(all_axes, measures, strict=True):
            counts = facts.measured[measure.column]
            axes.bar(measure.edges[:-1], counts, np.diff(measure.edges), align="edge", color=_BAR)
            used = np.flatnonzero(counts)
            axes.set(xlim=(measure.edges[used[0]], measure.edges[used[-1] + 1]), xlabel=measure.title)
        return _svg(figure, "measures", "Distributions of " + ", ".join(one.title for one in measures))
