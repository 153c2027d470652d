"""What `autorecap report` shows of a run, collected in one pass over the compacted columns: sums, histograms, and the
few clips that are worth hearing. Memory does not grow with the corpus.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpus.groups import scan
from corpus.store import Store
from corpus.view_joins import with_durations
from corpus.view_query import PAPER_THRESHOLDS, PRESETS, ViewError, Wanted, corpus_schema, make_query
from corpus.view_rows import whole_units
from pipeline.clips import Clip, read_clips
from pipeline.legchoice import choose
from pipeline.report.funnel import Step, funnel
from pipeline.runfolder import legs_of, open_store, read_record
from pipeline.select import scorer_thresholds
from pipeline.status import Status, run_status
from pipeline.top import Top

SCORE_EDGES = np.linspace(-1, 1, 101)

#: What the paper's steps kept: of the scored clips (its first threshold), and of those the rest.
PAPER_OF_SCORED = {"AutoReCapXL": 0.825}
PAPER_OF_XL = {"MQ": 0.440, "MQ-L": 0.313, "HQ": 0.228}


@dataclass(frozen=True)
class Measure:
    """A column whose distribution is worth a look."""

    column: str
    title: str
    edges: np.ndarray


MEASURES = (
    Measure("duration_s", "duration (s)", np.linspace(0, 30, 61)),
    Measure("speech_ratio", "share of heard speech", np.linspace(0, 1, 41)),
    Measure("rms_dbfs", "loudness, RMS (dBFS)", np.linspace(-90, 0, 46)),
    Measure("silence_ratio", "share of silence", np.linspace(0, 1, 41)),
    Measure("bandwidth_hz", "where the content ends (Hz)", np.linspace(0, 24_000, 49)),
    Measure("dc_offset", "constant offset (share of full scale)", np.linspace(-0.1, 0.1, 41)),
    Measure("mono_fold_db", "lost in the mono fold (dB)", np.linspace(-30, 0, 46)),
)

#: Columns that the pass reads where the corpus has them.
_READ = (
    *("clip_id", "unit_id", "start_ms", "end_ms", "outcome", "reason", "clap_score", "clap_model", "dup_keep"),
    *("merged_into", "joined_end_ms", "num_samples", "sample_rate_hz"),
    *(measure.column for measure in MEASURES if measure.column != "duration_s"),
)


class ReportError(Exception):
    """A report that cannot be made as asked; the message says why."""


@dataclass(frozen=True)
class Threshold:
    """A subset's cut on the scale of the scorer that the report is about; `is_own`: made for it, not the paper's."""

    name: str
    value: float
    is_own: bool


@dataclass
class PresetCount:
    """What `select --preset` would keep; or why it would refuse."""

    name: str
    clips: int = 0
    hours: float = 0.0
    refusal: str = ""
    condition: Any = None


@dataclass
class Facts:
    """Everything on the page but its players."""

    run: str
    name: str
    status: Status
    steps: list[Step]
    model: str | None = None  # the scorer that histogram, thresholds and examples are of
    models: Counter[str] = field(default_factory=Counter)  # scored clips by scorer
    thresholds: list[Threshold] = field(default_factory=list)
    presets: list[PresetCount] = field(default_factory=list)
    scored: int = 0  # of `model`
    score_counts: np.ndarray = field(default_factory=lambda: np.zeros(len(SCORE_EDGES) - 1, dtype=np.int64))
    measured: dict[str, np.ndarray] = field(default_factory=dict)  # column -> counts, of the clips that are ok
    cut: Threshold | None = None  # what the nearest clips are near to
    best: Sequence[Clip] = ()
    worst: Sequence[Clip] = ()
    nearest: Sequence[Clip] = ()


def collect(
    run: str,
    *,
    threshold: float | None = None,
    preset_model: str | None = None,
    examples: int = 20,
    only_legs: Sequence[str] = (),
) -> Facts:
    """`only_legs`: of those that lie side by side. Raises ReportError, ViewError, OtherRun, CompactionError."""
    store = open_store(run)
    record = read_record(store)
    started = legs_of(store)
    legs = choose(store, only_legs).names
    status = run_status(store)
    steps = funnel(store, started, status.counts.legs, status.units)
    facts = Facts(run=run, name=str(record.get("name", "")), status=status, steps=steps)
    if not legs:
        return facts
    known = corpus_schema(store, legs)
    _choose_model(facts, store, legs, known, preset_model)
    _thresholds(facts, store, legs, known, started, threshold)
    _pass(facts, store, legs, known, examples)
    return facts


def _choose_model(facts: Facts, store: Store, legs: Sequence[str], known: pa.Schema, wanted: str | None) -> None:
    if not {"clap_score", "clap_model"} <= set(known.names):
        return
    for batch in scan(store, legs, ["clip_id", "outcome", "reason", "clap_score", "clap_model"]):
        rows = pa.table(batch)
        scored = rows.filter(_is_scored(rows))
        for entry in pc.value_counts(scored.column("clap_model")):
            facts.models[str(entry["values"].as_py())] += entry["counts"].as_py()
    facts.models = Counter(dict(facts.models.most_common()))
    if wanted is not None and wanted not in facts.models:
        raise ReportError(f"{facts.run} holds no score of {wanted!r}; it has {', '.join(facts.models) or 'none'}")
    facts.model = wanted or next(iter(facts.models), None)


def _is_scored(rows: pa.Table) -> Any:
    """Clips that only their score could end: those that are ok, and those that it ended."""
    ok = pc.or_(pc.equal(rows.column("outcome"), "ok"), pc.equal(pc.fill_null(rows.column("reason"), ""), "low_clap"))
    return pc.and_(pc.fill_null(ok, False), rows.column("clap_score").is_valid())


def _thresholds(
    facts: Facts,
    store: Store,
    legs: Sequence[str],
    known: pa.Schema,
    started: Mapping[str, Mapping[str, Any]],
    threshold: float | None,
) -> None:
    if facts.model is None:
        return
    own = scorer_thresholds(started)
    values = own.get(facts.model, PAPER_THRESHOLDS)
    facts.thresholds = [Threshold(name, values[name], facts.model in own) for name in PAPER_THRESHOLDS]
    middle = next(one for one in facts.thresholds if one.name == "MQ")
    facts.cut = middle if threshold is None else Threshold("--threshold", threshold, True)
    for name in PRESETS:
        try:
            query = make_query(store, legs, known, None, None, None, name, own, (), False)
        except ViewError as error:
            facts.presets.append(PresetCount(name, refusal=str(error)))
        else:
            facts.presets.append(PresetCount(name, condition=Wanted(known, query).condition))


def _pass(facts: Facts, store: Store, legs: Sequence[str], known: pa.Schema, examples: int) -> None:
    columns = [name for name in _READ if name in known.names]
    present = ["duration_s", *(name for name in columns if name in {measure.column for measure in MEASURES})]
    measures = [measure for measure in MEASURES if measure.column in present]
    facts.measured = {one.column: np.zeros(len(one.edges) - 1, dtype=np.int64) for one in measures}
    best, worst, nearest = Top(examples), Top(examples), Top(examples)
    joins = {"joined_end_ms", "merged_into"} <= set(columns)
    for units_rows in whole_units(scan(store, legs, columns), joins):
        rows = with_durations(units_rows)
        ok = rows.filter(pc.fill_null(pc.equal(rows.column("outcome"), "ok"), False))
        _add_presets(facts, ok)
        for measure in measures:
            facts.measured[measure.column] += _histogram(_values(ok, measure.column), measure.edges)
        if facts.model is None or facts.cut is None:
            continue
        scored = rows.filter(pc.and_(_is_scored(rows), pc.equal(rows.column("clap_model"), facts.model)))
        scores = scored.column("clap_score").to_numpy().astype(np.float64)
        facts.scored += scored.num_rows
        facts.score_counts += _histogram(scores, SCORE_EDGES)
        places = scored.select(["clip_id", "unit_id"])
        best.add(scores, places)
        worst.add(-scores, places)
        nearest.add(-np.abs(scores - facts.cut.value), places)
    facts.best, facts.worst, facts.nearest = (
        read_clips(store, legs, [(str(row["unit_id"]), str(row["clip_id"])) for _, row in some.best()])
        for some in (best, worst, nearest)
    )


def _add_presets(facts: Facts, ok: pa.Table) -> None:
    """As a view would count: copies that a dedup leg has found are left out."""
    if "dup_keep" in ok.column_names:
        ok = ok.filter(pc.fill_null(ok.column("dup_keep"), True))
    for preset in facts.presets:
        if preset.condition is not None:
            kept = ok.filter(preset.condition)
            preset.clips += kept.num_rows
            preset.hours += (pc.sum(kept.column("duration_ms")).as_py() or 0) / 3_600_000


def _values(rows: pa.Table, column: str) -> np.ndarray:
    if column == "duration_s":
        return np.asarray(rows.column("duration_ms").to_numpy(), dtype=np.float64) / 1000
    return np.asarray(rows.column(column).drop_null().to_numpy(), dtype=np.float64)


def _histogram(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """What lies outside is counted in the first or last bin."""
    values = values[np.isfinite(values)]
    return np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0].astype(np.int64)
