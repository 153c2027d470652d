"""The plan: every clip that will be tried, settled before any audio is fetched.

    result = plan(recipe, store, on_progress=print)

First the list: new sources are written as parts of `sources_per_part` entries, duplicates left out. Then
part by part: threads ask sites and file headers, and the part's clips and sources are put in place together
(corpus/plan_store.py), in listed order whatever answered first. A part that is in place is never asked for
again, so a plan goes on where it was stopped; a longer list later adds parts for its new sources only.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from corpus import plan_store
from corpus.store import Store
from pipeline.config import Recipe
from pipeline.plan_source import PlannedSource, Rules, plan_source
from pipeline.plan_units import part_tables
from pipeline.sources import SourceEntry, read_sources
from pipeline.sources.entry import from_table, to_table
from stages.pace import Pace
from stages.ytdlp_client import YtdlpClient
from stages.ytdlp_options import YtdlpOptions
from stages.ytdlp_plugins import PluginError, use_plugins

log = logging.getLogger(__name__)

MAX_PARTS = 100_000  # five digits in a part's name


class PlanError(Exception):
    """The plan cannot be made; one sentence for the user."""


@dataclass(frozen=True, kw_only=True)
class PlanProgress:
    """How far this call is: of `sources` to plan, `done` have an outcome."""

    sources: int = 0
    done: int = 0
    planned: int = 0
    ended: int = 0
    failed: int = 0
    clips: int = 0


@dataclass(frozen=True, kw_only=True)
class PlanResult:
    """What this call did. `known` entries were in the plan already; `duplicates` came twice in the list."""

    new: int
    known: int
    duplicates: int
    parts: list[str] = field(default_factory=list)
    progress: PlanProgress = field(default_factory=PlanProgress)
    reasons: dict[str, int] = field(default_factory=dict)


OnProgress = Callable[[PlanProgress], None]


def plan(recipe: Recipe, store: Store, *, on_progress: OnProgress | None = None) -> PlanResult:
    """List what is new, then plan every part that is listed and not yet planned.

    Raises SourceError for a list that cannot be read or gives nothing, PlanError for what else the user
    must mend.
    """
    result = _list_sources(recipe, store)
    planned = set(plan_store.planned_parts(store))
    waiting = [part for part in plan_store.parts(store) if part not in planned]
    entries = sum(plan_store.read_inputs(store, part).num_rows for part in waiting)
    tally = _Tally(PlanProgress(sources=entries), on_progress or (lambda progress: None))
    with _Askers(recipe) as askers:
        for part in waiting:
            _plan_part(store, part, askers, recipe.plan.unit_clips, tally)
    return replace(result, parts=waiting, progress=tally.progress, reasons=dict(sorted(tally.reasons.items())))


# The list.


def _list_sources(recipe: Recipe, store: Store) -> PlanResult:
    there = plan_store.parts(store)
    planned_before = {key for part in there for key in _keys(store, part)}
    next_part = max((int(part) for part in there), default=-1) + 1
    seen: set[bytes] = set()
    counts: Counter[str] = Counter()
    fresh: list[SourceEntry] = []
    for entry in read_sources(recipe.sources):
        key = _digest(entry.source_key)
        kind = "duplicates" if key in seen else "known" if key in planned_before else "new"
        counts[kind] += 1
        seen.add(key)
        if kind == "new":
            fresh.append(entry)
        if len(fresh) == recipe.plan.sources_per_part:
            next_part = _write_inputs(store, next_part, fresh)
            fresh = []
    if fresh:
        _write_inputs(store, next_part, fresh)
    return PlanResult(new=counts["new"], known=counts["known"], duplicates=counts["duplicates"])


def _write_inputs(store: Store, number: int, entries: list[SourceEntry]) -> int:
    if number >= MAX_PARTS:
        raise PlanError(f"the plan has {MAX_PARTS} parts, which is all it can have: raise plan.sources_per_part")
    if not plan_store.write_inputs(store, f"{number:05d}", to_table(entries)):
        raise PlanError(f"part {number:05d} has just been listed by another `plan` of this run: wait for it")
    return number + 1


def _keys(store: Store, part: str) -> Iterator[bytes]:
    with store.open(plan_store.inputs_path(part)) as file:
        for key in pq.read_table(file, columns=["source_key"]).column(0).to_pylist():
            yield _digest(key)


def _digest(source_key: str) -> bytes:
    """Keys are held by the million: 16 bytes each."""
    return hashlib.blake2b(source_key.encode(), digest_size=16).digest()


# A part.


def _plan_part(store: Store, part: str, askers: _Askers, unit_clips: int, tally: _Tally) -> None:
    entries = from_table(plan_store.read_inputs(store, part))
    planned = askers.ask(entries, tally)
    try:
        clips, sources = part_tables(part, planned, unit_clips)
    except ValueError as error:
        raise PlanError(str(error)) from error
    if not plan_store.write_part(store, part, clips, sources):
        raise PlanError(f"part {part} has just been planned by another `plan` of this run: wait for it")
    log.info("part %s: %d sources, %d clips", part, len(entries), clips.num_rows)


class _Tally:
    """Counts outcomes as they come and tells who asked."""

    def __init__(self, progress: PlanProgress, on_progress: OnProgress) -> None:
        self.progress = progress
        self.reasons: Counter[str] = Counter()
        self._on_progress = on_progress
        on_progress(progress)

    def add(self, source: PlannedSource) -> None:
        before = self.progress
        self.progress = replace(
            before,
            done=before.done + 1,
            clips=before.clips + len(source.spans_ms),
            **{source.outcome: getattr(before, source.outcome) + 1},
        )
        if source.reason:
            self.reasons[source.reason] += 1
        self._on_progress(self.progress)


class _Askers:
    """The threads that ask. Each has its own yt-dlp object, made when it meets its first URL; the pace is shared."""

    def __init__(self, recipe: Recipe) -> None:
        self._rules = Rules.of(recipe.plan)
        self._languages = recipe.plan.languages
        self._options = YtdlpOptions.from_mapping(recipe.ytdlp.model_dump())
        self._pace = Pace(self._options.requests_per_s)
        self._pool = ThreadPoolExecutor(recipe.plan.workers, thread_name_prefix="plan")
        self._own = threading.local()
        self._clients: list[YtdlpClient] = []

    def __enter__(self) -> _Askers:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        # After a fault or a signal nobody waits for sites: threads in flight end by their own time limits.
        self._pool.shutdown(wait=exc_info[0] is None, cancel_futures=True)
        if exc_info[0] is None:
            for client in self._clients:
                client.close()

    def ask(self, entries: Sequence[SourceEntry], tally: _Tally) -> list[PlannedSource]:
        """Every entry's outcome, in the order of the entries."""
        if any(entry.kind == "url" for entry in entries):
            self._check_options()
        asked: list[Future[PlannedSource]] = [
            self._pool.submit(plan_source, entry, self._rules, self._client) for entry in entries
        ]
        for answer in as_completed(asked):
            tally.add(answer.result())
        return [answer.result() for answer in asked]

    def _check_options(self) -> None:
        """Refuse in a sentence what would otherwise fail in every thread."""
        cookies = self._options.cookies_file
        if cookies and not Path(cookies).is_file():
            raise PlanError(f"ytdlp.cookies_file: {cookies} is not there")
        try:
            use_plugins(self._options.plugin_dirs)
        except PluginError as error:
            raise PlanError(str(error)) from error

    def _client(self) -> YtdlpClient:
        client: YtdlpClient | None = getattr(self._own, "client", None)
        if client is None:
            client = YtdlpClient(self._options, languages=self._languages, pace=self._pace)
            self._own.client = client
            self._clients.append(client)
        return client
