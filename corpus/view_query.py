"""What a view keeps: presets, thresholds by scorer, conditions, and the columns that they need.

query = make_query(store, legs, corpus_schema(store, legs), preset="MQ", ...)
wanted = Wanted(known, query)        # what a view's rows look like, the condition as one Arrow expression
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.compacted import compacted_files
from corpus.expression import Filter, parse
from corpus.narrow import PREFIX
from corpus.schema import PUBLISHED_MODEL, TRANSIENT, VIEW
from corpus.store import Store


class ViewError(Exception):
    """A view that cannot be made or read; the message says what to do."""


@dataclass(frozen=True)
class Preset:
    """One of the paper's subsets. `subset` names the threshold, `min_duration_s` is exclusive."""

    subset: str
    min_duration_s: float | None = None


PRESETS: dict[str, Preset] = {
    "AutoReCapXL": Preset("AutoReCapXL"),
    "MQ": Preset("MQ"),
    "MQ-L": Preset("MQ", min_duration_s=5.0),
    "HQ": Preset("HQ"),
}

#: The paper's thresholds, made for LAION's CLAP. Another scorer's numbers mean something else.
PAPER_THRESHOLDS: dict[str, float] = {"AutoReCapXL": 0.1, "MQ": 0.4, "HQ": 0.5}


@dataclass(frozen=True, kw_only=True)
class Query:
    """What a view keeps. All conditions hold at once; `thresholds` is what a preset came to, by scorer."""

    preset: str | None = None
    clap_min: float | None = None
    min_duration_s: float | None = None
    where: str | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    keep: Sequence[str] = ()
    keep_duplicates: bool = False
    include_filtered: Sequence[str] = ()


def corpus_schema(store: Store, legs: Sequence[str]) -> pa.Schema:
    """The columns that the compacted files of `legs` have together, without those a view computes."""
    columns: dict[str, pa.Field] = {}
    for leg in legs:
        files = compacted_files(store, leg)
        if not files:
            raise ViewError(f"leg {leg!r} of {store.root} has committed nothing yet; start with autorecap run")
        with store.open(files[0].path) as file:
            columns |= {typed.name: typed for typed in pq.ParquetFile(file).schema_arrow}
    left_out = TRANSIENT.names
    return pa.schema([f for name, f in columns.items() if name not in left_out and not name.startswith(PREFIX)])


def clap_models(store: Store, legs: Sequence[str]) -> list[str]:
    """Every scorer whose scores the corpus holds, from the files' statistics where they tell."""
    found: set[str] = set()
    for leg in legs:
        for compacted in compacted_files(store, leg):
            with store.open(compacted.path) as file:
                found |= _distinct(pq.ParquetFile(file), "clap_model")
    return sorted(found)


def _fits_a_record(kind: pa.DataType) -> bool:
    """A plain value, or a list of numbers (an embedding)."""
    return not pa.types.is_nested(kind) or (pa.types.is_list(kind) and pa.types.is_floating(kind.value_type))


def _distinct(parquet: pq.ParquetFile, column: str) -> set[str]:
    at = parquet.schema_arrow.get_field_index(column)
    if at < 0:
        return set()
    at = parquet.schema.names.index(column)  # of the leaf columns: lists come before or after
    found: set[str] = set()
    for group in range(parquet.num_row_groups):
        statistics = parquet.metadata.row_group(group).column(at).statistics
        if statistics is not None and statistics.has_min_max and statistics.min == statistics.max:
            found.add(str(statistics.min))
        else:
            values = parquet.read_row_group(group, columns=[column]).column(0)
            found |= {value for value in pc.unique(values).to_pylist() if value is not None}
    return found


def make_query(
    store: Store,
    legs: Sequence[str],
    known: pa.Schema,
    where: str | None,
    clap_min: float | None,
    min_duration_s: float | None,
    preset: str | None,
    thresholds: Mapping[str, Mapping[str, float]],
    keep: Sequence[str],
    keep_duplicates: bool,
    include_filtered: Sequence[str] = (),
) -> Query:
    if preset is not None and preset not in PRESETS:
        raise ViewError(f"there is no preset {preset!r}; there are {', '.join(PRESETS)}")
    if preset is not None and clap_min is not None:
        raise ViewError("a preset has its own CLAP threshold: give either --preset or --clap-min")
    for column in keep:
        if column not in known.names or not _fits_a_record(known.field(column).type):
            raise ViewError(f"column {column!r} cannot be kept; the corpus has {', '.join(known.names)}")
    found: dict[str, float] = {}
    if preset is not None or clap_min is not None:
        models = clap_models(store, legs) if "clap_score" in known.names else []
        if not models:
            raise ViewError("no clip has a CLAP score yet: a preset or --clap-min needs a leg that scores")
        if preset is not None:
            subset = PRESETS[preset].subset
            _refuse_strangers(models, thresholds)
            found = {model: thresholds.get(model, PAPER_THRESHOLDS)[subset] for model in models}
            min_duration_s = max(filter(None, (min_duration_s, PRESETS[preset].min_duration_s)), default=None)
        elif len(models) > 1 and "clap_model" not in (where or ""):
            raise ViewError(
                f"the corpus holds scores of {len(models)} models ({', '.join(models)}), which cannot be compared: "
                f"say which, e.g. --where \"clap_model == '{models[0]}'\""
            )
    return Query(
        preset=preset,
        clap_min=clap_min,
        min_duration_s=min_duration_s,
        where=where.strip() if where and where.strip() else None,
        thresholds=found,
        keep=tuple(dict.fromkeys(column for column in keep if column not in VIEW.names)),
        keep_duplicates=keep_duplicates,
        include_filtered=tuple(dict.fromkeys(include_filtered)),
    )


def _refuse_strangers(models: Sequence[str], thresholds: Mapping[str, Mapping[str, float]]) -> None:
    """A preset needs to know the weights: `clap_model` is `<name>@<first 12 digits of their SHA-256>`."""
    calibrated = {model.rpartition("@")[0]: model for model in thresholds}
    for model in models:
        name, _, digits = model.rpartition("@")
        if model == PUBLISHED_MODEL:
            continue  # the paper's own scores
        if not name or not re.fullmatch("[0-9a-f]{12}", digits):
            raise ViewError(f"scores of {model!r} name no weights' hash, so no preset fits them: give --clap-min")
        if model not in thresholds and name in calibrated:
            raise ViewError(
                f"the scores are of {model}, the thresholds known here of {calibrated[name]}: other weights, another "
                "scale. Give --clap-min, or score again (a models leg under another name)"
            )


class Wanted:
    """What is asked of the corpus, and what the view's rows will look like."""

    def __init__(self, known: pa.Schema, query: Query) -> None:
        self.query = query
        self.schema = pa.schema([*VIEW, *(known.field(name).with_nullable(True) for name in query.keep)])
        seen = pa.schema([*(typed for typed in known if typed.name != "duration_ms"), VIEW.field("duration_ms")])
        self.where = parse(query.where, seen) if query.where else None
        #: Everything that must hold, for rows that have `duration_ms`; None when all clips are kept.
        self.condition = _condition(query, self.where)
        #: Whether clips that a copy is kept of (`dup_keep` false) stay out.
        self.leaves_duplicates_out = not query.keep_duplicates and "dup_keep" in known.names


def _condition(query: Query, where: Filter | None) -> Any:
    """Everything that must hold, as one Arrow expression; None when all clips are kept."""
    parts = []
    if query.thresholds:
        by_model = [
            (pc.field("clap_model") == model) & _at_least(threshold) for model, threshold in query.thresholds.items()
        ]
        joined = by_model[0]
        for part in by_model[1:]:
            joined = joined | part
        parts.append(joined)
    if query.clap_min is not None:
        parts.append(_at_least(query.clap_min))
    if query.min_duration_s is not None:
        parts.append(pc.field("duration_ms") > round(query.min_duration_s * 1000))
    if where is not None:
        parts.append(where.expression)
    condition = None
    for part in parts:
        condition = part if condition is None else condition & part
    return condition


def _at_least(threshold: float) -> Any:
    """Scores are single precision: 0.4 must mean the stored 0.4."""
    return pc.field("clap_score") >= pc.scalar(threshold).cast(pa.float32())
