"""The verb search: find clips by what is heard in them, by the embeddings that the corpus has stored. No audio is read.

    found = search("runs/demo", "rain on a roof")
    found.hits[0].match          # cosine of the text's and the clip's embedding

Embeddings stream through in small batches, so memory does not grow with the corpus. Two models' vectors do not meet
in one space: the text must go through the model that has heard the clips.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpus.groups import scan
from corpus.store import Store
from corpus.view_query import corpus_schema
from corpus.views import open_view
from pipeline.clips import Clip, read_clips
from pipeline.legchoice import choose
from pipeline.runfolder import legs_of, open_store, read_record
from pipeline.scorers import ModelError, open_scorer
from pipeline.top import Top

if TYPE_CHECKING:
    from scorer.load import Scorer

log = logging.getLogger(__name__)

EMBEDDING = "clap_audio_embedding"

#: Clips whose embeddings are in memory at a time.
BATCH_ROWS = 8_192


class SearchError(Exception):
    """A corpus that cannot be searched so; the message says what to do."""


@dataclass(frozen=True)
class Hit:
    """A clip and the cosine of its embedding with the text's."""

    match: float
    clip: Clip


@dataclass(frozen=True)
class Found:
    """What a search found, the best first."""

    text: str
    model: str
    clips_searched: int
    hits: Sequence[Hit]


def search(
    run: str,
    text: str,
    *,
    top: int = 20,
    view: str | None = None,
    model: str | None = None,
    device: str = "cpu",
    min_score: float | None = None,
    everything: bool = False,
    only_legs: Sequence[str] = (),
) -> Found:
    """The `top` clips of `run` that fit `text` best, of those that are ok and no copies (`everything`: all there are).

    `view` looks in one view only; `model` is the scorer of the text (default: that of the corpus); `min_score` leaves
    out what fits worse; `only_legs` names those to read of legs that lie side by side. Raises SearchError, ViewError,
    ModelError, OtherRun.
    """
    if not text.strip():
        raise SearchError("there is nothing to search for: the text is empty")
    store = open_store(run)
    read_record(store)
    started = legs_of(store)
    legs = choose(store, only_legs).names
    holders = _legs_with_embeddings(store, legs)
    if not holders:
        raise SearchError(_no_embeddings(run, list(started)))
    leg, scorer = _leg_and_scorer(store, run, started, holders, model, device, everything)
    found = Clips(store, legs, leg, view, everything)
    best = Top(top)
    own = _name(scorer)
    searched = 0
    query = scorer.embed_text([text])[0]
    for rows, vectors in found.of_model(own, scorer.embedding_dim):
        searched += rows.num_rows
        best.add(vectors @ query, rows)
    hits = [(match, row) for match, row in best.best() if min_score is None or match >= min_score]
    clips = read_clips(store, legs, [(str(row["unit_id"]), str(row["clip_id"])) for _, row in hits])
    return Found(text, own, searched, [Hit(match, clip) for (match, _), clip in zip(hits, clips, strict=True)])


def _legs_with_embeddings(store: Store, legs: Sequence[str]) -> list[str]:
    """Legs that have the column; the last one first."""
    return [leg for leg in reversed(legs) if EMBEDDING in corpus_schema(store, [leg]).names]


def _no_embeddings(run: str, started: Sequence[str]) -> str:
    if not started:
        return f"{run} has no committed clips yet; start with autorecap run"
    return (
        f"{run} has kept no embeddings to search by: they are columns only where the recipe's stage `embed` says "
        f"`keep: true`. A leg that has committed cannot change: add a leg (after: {started[0]}) with the stages "
        f"load_audio and embed (keep: true), and run it with autorecap run CONFIG --leg NAME"
    )


def _leg_and_scorer(
    store: Store,
    run: str,
    started: Mapping[str, Mapping[str, Any]],
    holders: Sequence[str],
    model: str | None,
    device: str,
    everything: bool,
) -> tuple[str, Scorer]:
    """Whose embeddings to search, and the scorer that made them."""
    counts = {leg: _model_counts(store, leg, everything) for leg in holders}
    present = {name: count for leg in reversed(holders) for name, count in counts[leg].items()}
    if not present:
        raise SearchError(_no_embeddings(run, list(started)))
    if model is not None:
        scorer = open_scorer(model, device, dict(_models_of(started)).get(model))
        for leg in holders:
            if _name(scorer) in counts[leg]:
                return leg, scorer
        raise SearchError(
            f"{run} holds no embedding of {_name(scorer)}; it has {_listed(present)}: "
            "give --model the folder, file or Hub name of one of them"
        )
    if len(counts[holders[0]]) > 1:
        raise SearchError(
            f"{run} holds embeddings of {len(present)} models, which cannot be compared: {_listed(present)}; "
            "choose one by --model with its folder, file or Hub name (embedded = the one that ships with the project)"
        )
    return holders[0], _scorer_named(next(iter(counts[holders[0]])), started, device)


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({count} clips)" for name, count in counts.items())


def _model_counts(store: Store, leg: str, everything: bool) -> Counter[str]:
    counts: Counter[str] = Counter()
    for batch in scan(store, [leg], ["clip_id", "outcome", "clap_model"]):
        rows = pa.table(batch)
        if not everything:
            rows = rows.filter(pc.equal(rows.column("outcome"), "ok"))
        for entry in pc.value_counts(rows.column("clap_model").drop_null()):
            counts[entry["values"].as_py()] += entry["counts"].as_py()
    return Counter(dict(counts.most_common()))


def _scorer_named(name: str, started: Mapping[str, Mapping[str, Any]], device: str) -> Scorer:
    """The scorer that calls itself `name`, among those that the run's legs were told to load."""
    tried = []
    for model, options in [*_models_of(started), ("embedded", {})]:
        try:
            scorer = open_scorer(model, device, options)
        except ModelError as error:
            tried.append(str(error))
            continue
        if _name(scorer) == name:
            return scorer
        tried.append(f"{model!r} is now {_name(scorer)}")
    raise SearchError(
        f"the embeddings are of {name}, which was not found ({'; '.join(dict.fromkeys(tried))}): "
        "give --model its folder, file or Hub name"
    )


def _models_of(started: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """(model, options) of every stage that loads a scorer, each once."""
    found: list[tuple[str, dict[str, Any]]] = []
    for leg in started.values():
        for stage in leg.get("stages", []):
            one = (str(stage.get("model")), dict(stage.get("clap") or {}))
            if stage.get("use") in ("embed", "score") and stage.get("model") and one not in found:
                found.append(one)
    return found


def _name(scorer: Scorer) -> str:
    from scorer.load import model_name

    return model_name(scorer)


class Clips:
    """The clips of one leg that may be found, with their embeddings."""

    def __init__(self, store: Store, legs: Sequence[str], leg: str, view: str | None, everything: bool) -> None:
        self._store, self._leg, self._everything = store, leg, everything
        self._in_view = _Listed(_view_ids(store, view)) if view is not None else None
        later = [] if everything else legs[legs.index(leg) + 1 :]
        self._ended_later = [_Listed(_ended_ids(store, other)) for other in later]

    def of_model(self, model: str, dim: int) -> Iterator[tuple[pa.Table, np.ndarray]]:
        """(clip_id and unit_id, (B, D) float32 embeddings) of the clips that `model` has heard, batch by batch."""
        columns = ["clip_id", "unit_id", "outcome", "clap_model", EMBEDDING]
        for batch in scan(self._store, [self._leg], columns, batch_rows=BATCH_ROWS):
            rows = pa.table(batch)
            mask = pc.and_(pc.is_valid(rows.column(EMBEDDING)), pc.equal(rows.column("clap_model"), model))
            if not self._everything:
                mask = pc.and_(mask, pc.equal(rows.column("outcome"), "ok"))
            if self._in_view is not None:
                mask = pc.and_(mask, self._in_view.has(rows))
            for ended in self._ended_later:
                mask = pc.and_(mask, pc.invert(ended.has(rows)))
            rows = rows.filter(pc.fill_null(mask, False))
            if rows.num_rows:
                yield rows.select(["clip_id", "unit_id"]), self._vectors(rows, dim)

    def _vectors(self, rows: pa.Table, dim: int) -> np.ndarray:
        column = rows.column(EMBEDDING).combine_chunks()
        if not pc.all(pc.equal(pc.list_value_length(column), dim)).as_py():
            raise SearchError(
                f"leg {self._leg} of {self._store.root} holds embeddings that have not {dim} numbers, as this "
                "model's have: they are damaged (see autorecap verify)"
            )
        flat = pc.list_flatten(column).to_numpy(zero_copy_only=False)
        return np.asarray(flat, dtype=np.float32).reshape(-1, dim)


class _Listed:
    """Whether clips are in a list; the list is in plan order too, so both are read side by side, once."""

    def __init__(self, listed: Iterator[pa.Table]) -> None:
        self._coming = listed
        self._here: list[pa.Table] = []
        self._reached: str | None = ""  # the last unit that was read; None: all were

    def has(self, rows: pa.Table) -> Any:
        """A mask of `rows`, which must come in plan order from call to call."""
        last = rows.column("unit_id")[-1].as_py()
        while self._reached is not None and self._reached <= last:
            more = next(self._coming, None)
            if more is None:
                self._reached = None
            elif more.num_rows:
                self._here.append(more)
                self._reached = more.column("unit_id")[-1].as_py()
        ids = [table.column("clip_id") for table in self._here]
        self._here = [table for table in self._here if table.column("unit_id")[-1].as_py() >= last]
        known = pa.chunked_array([chunk for column in ids for chunk in column.chunks], pa.string()).combine_chunks()
        return pc.is_in(rows.column("clip_id"), value_set=known)


def _view_ids(store: Store, view: str) -> Iterator[pa.Table]:
    yield from open_view(store, view).batches(["unit_id", "clip_id"])


def _ended_ids(store: Store, leg: str) -> Iterator[pa.Table]:
    """Clips that a later leg has ended, or found to be copies (as in a view, one of them is enough)."""
    copies = "dup_keep" in corpus_schema(store, [leg]).names
    columns = ["unit_id", "clip_id", "outcome", *(["dup_keep"] if copies else [])]
    for batch in scan(store, [leg], columns):
        rows = pa.table(batch)
        gone = pc.not_equal(rows.column("outcome"), "ok")
        if copies:
            gone = pc.or_(gone, pc.invert(pc.fill_null(rows.column("dup_keep"), True)))
        yield rows.filter(gone).select(["unit_id", "clip_id"])
