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
from typing import Any, BinaryIO

import pyarrow.parquet as pq

from corpus import views
from corpus.schema import PUBLISHED_MODEL
from corpus.store import Store
from corpus.streamed import write_whole
from corpus.view_query import ViewError
from corpus.views import View
from pipeline.legchoice import choose
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
    legs: Sequence[str] = (),
    keep_duplicates: bool = False,
    include_filtered: Sequence[str] = (),
) -> View:
    """Make the view `name` (default: the preset's name, or "view") of the run folder `run`.

    See corpus.views.select for what the conditions mean. `legs` names the ones to read, of those that lie side by
    side (two that caption the same clips, say); what they start from comes with them. Copies that a dedup leg has
    found stay out, unless `keep_duplicates`. Raises ViewError, ExpressionError, OtherRun.
    """
    store = open_store(run)
    read_record(store)
    chosen = choose(store, legs)
    if not chosen.names:
        raise ViewError(f"{run} has no committed clips yet; start with autorecap run")
    own = scorer_thresholds(legs_of(store))
    view = views.select(
        store,
        chosen.names,
        name or preset or "view",
        where=where,
        clap_min=clap_min,
        min_duration_s=min_duration_s,
        preset=preset,
        thresholds=own,
        keep=keep,
        keep_duplicates=keep_duplicates,
        include_filtered=include_filtered,
        ends=chosen.ends,
        prepare=lambda: chosen.compact(store),
    )
    warn_of_borrowed(view.summary["query"]["thresholds"], own)
    return view


def write_table(view: View, path: Path) -> None:
    """The view's rows as one plain Parquet file, for pandas or DuckDB; ViewError when it cannot be written."""

    def write(file: BinaryIO) -> None:
        with pq.ParquetWriter(file, view.schema, compression="zstd") as writer:
            for rows in view.batches():
                writer.write_table(rows)

    try:
        write_whole(Store(path.resolve().parent), path.name, write)
    except OSError as error:
        raise ViewError(f"{path} cannot be written: {error.strerror or error}") from error


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
