"""The verb select: bring the compacted columns up to date, then make a view of the run.

    view = select("runs/demo", "mq", preset="MQ")

A preset's threshold depends on the scorer: a small model's scores are no paper's scores. Scorers whose folder
holds a card (the embedded one, and any that the recipe names by folder) bring their own thresholds; LAION's CLAP
and other published scorers get the paper's.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from corpus import compact, units, views
from corpus.schema import PUBLISHED_MODEL
from corpus.view_query import ViewError
from corpus.views import View
from pipeline.runfolder import legs_of, open_store, read_record
from scorer.load import PUBLISHED_SCORER

log = logging.getLogger(__name__)


def select(
    run: str,
    name: str | None = None,
    *,
    where: str | None = None,
    clap_min: float | None = None,
    min_duration_s: float | None = None,
    preset: str | None = None,
    keep: Sequence[str] = (),
    only_legs: Sequence[str] | None = None,
    keep_duplicates: bool = False,
) -> View:
    """Make the view `name` (default: the preset's name, or "view") of the run folder `run`.

    See corpus.views.select for what the conditions mean. `only_legs` leaves out the columns of other legs (of two
    that caption the same clips, say). Copies that a dedup leg has found stay out, unless `keep_duplicates`.
    Raises ViewError, ExpressionError, OtherRun.
    """
    store = open_store(run)
    read_record(store)
    started = list(legs_of(store))
    legs = [leg for leg in started if leg == started[0] or only_legs is None or leg in only_legs]
    done = {leg: units.done_units(store, leg, root=leg == legs[0]) for leg in legs}
    committed = [leg for leg in legs if done[leg]]
    if not committed:
        raise ViewError(f"{run} has no committed clips yet; start with autorecap run")
    for leg in legs:
        if leg not in committed:
            log.warning("leg %s has committed nothing yet: the view goes without its columns", leg)
        elif behind := len(done[legs[0]] - done[leg]):
            log.warning("leg %s has not done %d units yet: their clips are not in the view", leg, behind)
    for leg in committed:
        compact.compact(store, leg, root=leg == legs[0])
    own = scorer_thresholds(legs_of(store))
    view = views.select(
        store,
        committed,
        name or preset or "view",
        where=where,
        clap_min=clap_min,
        min_duration_s=min_duration_s,
        preset=preset,
        thresholds=own,
        keep=keep,
        keep_duplicates=keep_duplicates,
    )
    warn_of_borrowed(view.summary["query"]["thresholds"], own)
    return view


def warn_of_borrowed(thresholds: Mapping[str, float], own: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Say which scorers a preset measured with the paper's threshold that was made for another one."""
    papers = (f"{PUBLISHED_SCORER}@", PUBLISHED_MODEL)
    borrowed = [model for model in thresholds if model not in own and not model.startswith(papers)]
    for model in borrowed:
        log.warning(
            "the preset's threshold %g is the paper's, made for LAION's CLAP (most likely %s): the scores of %s were "
            "never calibrated to it. See the histogram of `autorecap report`, and give --clap-min instead",
            thresholds[model], PUBLISHED_SCORER, model,
        )  # fmt: skip
    return borrowed


def scorer_thresholds(legs: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """clap_model -> subset -> threshold, of every scorer that has a card."""
    found = {}
    for card in _cards(legs):
        model = f"{card['model_id']}@{str(card['weights_sha256'])[:12]}"
        found[model] = {name: float(value) for name, value in card["preset_thresholds"].items()}
    return found


def _cards(legs: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    from scorer.load import WEIGHTS

    folders = [WEIGHTS]
    for leg in legs.values():
        folders += [Path(stage["model"]) for stage in leg.get("stages", []) if isinstance(stage.get("model"), str)]
    for folder in folders:
        file = folder / "card.json"
        if not file.is_file():
            continue
        card = json.loads(file.read_text(encoding="utf-8"))
        if {"model_id", "weights_sha256", "preset_thresholds"} <= card.keys():
            yield card
