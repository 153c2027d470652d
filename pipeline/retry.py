"""The verb retry: plan a new attempt of what has failed, and of nothing else. `plan` and `run` then take it up.

    told = retry("runs/xl", reasons=["http_429", "timeout"], older_than_s=86_400)

Clips are tried again as `<unit>.r<n>` from the leg on in which they failed (corpus/attempts.py); sources that could
not be planned are listed again, with their next attempt, in parts of their own. Each file is put in place if absent,
and what has been put is no longer among the failed: called twice, or again after a kill, nothing is planned twice.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from corpus import attempts, plan_store, units
from corpus.store import Store
from corpus.work_ids import MAX_ATTEMPT, attempt_of, unit_of, work_id
from pipeline.advice import ADVICE, transient_reasons
from pipeline.failures import count_reasons, failed_clips, failed_sources
from pipeline.runfolder import legs_of, open_store, read_record, retries_of

#: Units whose retries are planned at the same time: each is a small read and a small write.
_THREADS = 8

#: How often a part's name may be lost to somebody who lists sources at the same time.
_MAX_LOST = 100


class RetryError(Exception):
    """A retry that cannot be planned as asked; one sentence for the user."""


@dataclass
class Retried:
    """What was planned (or, on a dry run, would be)."""

    clips: dict[str, dict[str, int]] = field(default_factory=dict)  # leg -> reason -> clips
    units: dict[str, int] = field(default_factory=dict)  # leg -> units that they are of
    sources: dict[str, int] = field(default_factory=dict)  # reason -> sources
    parts: list[str] = field(default_factory=list)  # where they are listed again

    @property
    def nothing(self) -> bool:
        return not self.sources and not any(self.clips.values())


@dataclass(frozen=True)
class _Wanted:
    """Which failures are meant."""

    reasons: frozenset[str]
    stage: str | None
    before_s: float | None  # committed before this time

    def of(self, rows: pa.Table) -> pa.Table:
        wanted = rows.filter(pc.is_in(rows.column("reason"), value_set=pa.array(sorted(self.reasons), pa.string())))
        if self.stage is not None:
            wanted = wanted.filter(pc.fill_null(pc.equal(wanted.column("stage"), self.stage), False))
        return wanted


def retry(
    run: str,
    *,
    reasons: Sequence[str] = ("transient",),
    legs: Sequence[str] = (),
    stage: str | None = None,
    clips: bool = True,
    sources: bool = True,
    older_than_s: float | None = None,
    dry_run: bool = False,
) -> Retried:
    """Plan a new attempt of the clips and sources that failed for one of `reasons` (words, `transient`, `all`).

    `legs`, `stage`: only clips that failed there, and no sources. `older_than_s`: only what was committed longer ago.
    Raises RetryError, OtherRun.
    """
    store = open_store(run)
    read_record(store)
    started = legs_of(store)
    chains = retries_of(started)
    if unknown := [leg for leg in legs if leg not in chains]:
        raise RetryError(f"no leg of {run} that can be tried again is called {unknown[0]!r}; it has {_listed(chains)}")
    sources = sources and not legs and stage is None
    failed = failed_clips(store, started) if clips else {}
    lost = failed_sources(store) if sources else None
    present = count_reasons([*failed.values(), *([] if lost is None else [lost])])
    before_s = None if older_than_s is None else time.time() - older_than_s
    wanted = _Wanted(_chosen(reasons, present, run), stage, before_s)
    told = Retried()
    for leg, rows in failed.items():
        if not legs or leg in legs:
            _retry_clips(store, leg, _old_enough(store, leg, chains[leg], wanted.of(rows), before_s), told, dry_run)
    if lost is not None:
        _retry_sources(store, wanted, told, dry_run)
    return told


def _chosen(words: Sequence[str], present: Mapping[str, int], run: str) -> frozenset[str]:
    """The reasons that are meant. A word that nobody knows is a mistake; a known one that nothing failed for is not."""
    chosen: set[str] = set()
    for word in words:
        if word == "all":
            chosen.update(present)
        elif word == "transient":
            chosen.update(transient_reasons())
        elif word in present or word in ADVICE:
            chosen.add(word)
        else:
            have = ", ".join(f"{reason} ({count})" for reason, count in present.items()) or "no failures"
            raise RetryError(f"{word!r} is no reason; {run} has {have}; `transient` and `all` stand for several")
    return frozenset(chosen)


# -- clips


def _old_enough(store: Store, leg: str, chain: Sequence[str], rows: pa.Table, before_s: float | None) -> pa.Table:
    """Rows that were committed before a time: by when their attempt's file was put in place."""
    if before_s is None:
        return rows

    @cache
    def is_old(work: str) -> bool:
        return store.modified_s(units.unit_path(leg, work, root=len(chain) == 1)) < before_s

    pairs = zip(rows.column("unit_id").to_pylist(), rows.column("attempt").to_pylist(), strict=True)
    return rows.filter(pa.array([is_old(work_id(unit_id, attempt or 0)) for unit_id, attempt in pairs], pa.bool_()))


def _retry_clips(store: Store, leg: str, rows: pa.Table, told: Retried, dry_run: bool) -> None:
    """Plan a retry for each unit that has clips in `rows`, which are sorted by unit."""
    told.clips[leg] = count_reasons([rows])
    by_unit: dict[str, list[str]] = defaultdict(list)
    for unit_id, clip_id in zip(rows.column("unit_id").to_pylist(), rows.column("clip_id").to_pylist(), strict=True):
        by_unit[unit_id].append(clip_id)
    told.units[leg] = len(by_unit)
    if dry_run or not by_unit:
        return
    started = legs_of(store)
    others = [name for name in retries_of(started) if name != leg]
    is_root = started[leg].get("after") is None
    last: dict[str, int] = defaultdict(int)
    for work in attempts.planned_retries(store, [leg, *others]):
        last[unit_of(work)] = max(last[unit_of(work)], attempt_of(work))

    def plan(unit_id: str) -> None:
        _plan_unit(store, leg, others, unit_id, by_unit[unit_id], last[unit_id] + 1, is_root=is_root)

    last.update({unit_id: last[unit_id] for unit_id in by_unit})  # no key is added while threads read
    with ThreadPoolExecutor(_THREADS) as pool:
        for _ in pool.map(plan, by_unit):
            pass


def _plan_unit(
    store: Store, leg: str, others: Sequence[str], unit_id: str, clips: Sequence[str], attempt: int, *, is_root: bool
) -> None:
    # A number belongs to one retry of the unit, in whichever leg it begins.
    while any(store.exists(attempts.retry_path(other, work_id(unit_id, attempt))) for other in others):
        attempt += 1
    if attempt > MAX_ATTEMPT:
        raise RetryError(f"unit {unit_id} has been tried {MAX_ATTEMPT} times, which is all it can be")
    wanted = set(clips)
    if not is_root:
        wanted |= _members_of(store, leg, unit_id, wanted)
    planned = plan_store.read_unit(store, unit_id)
    rows = planned.filter(pc.is_in(planned.column("clip_id"), value_set=pa.array(wanted, pa.string())))
    # False: another `retry` has just planned this one. What it left out has failed still, and is found next time.
    attempts.plan_retry(store, leg, work_id(unit_id, attempt), rows)


def _members_of(store: Store, leg: str, unit_id: str, heads: Collection[str]) -> set[str]:
    """Clips that were merged into one of `heads`: a join whose head failed comes back as clips of their own."""
    rows = attempts.read_latest(store, leg, unit_id, root=False, columns=["clip_id", "merged_into"])
    if "merged_into" not in rows.column_names:
        return set()
    pairs = zip(rows.column("clip_id").to_pylist(), rows.column("merged_into").to_pylist(), strict=True)
    return {clip_id for clip_id, head in pairs if head in heads}


# -- sources


def _retry_sources(store: Store, wanted: _Wanted, told: Retried, dry_run: bool) -> None:
    """List failed sources again. Whoever loses a part's name to another one looks again at what has failed."""
    per_part = int(read_record(store)["plan"].get("sources_per_part", 1000))
    lost = 0
    while lost < _MAX_LOST:
        rows = wanted.of(failed_sources(store))
        if wanted.before_s is not None:
            times_s = {part: store.modified_s(plan_store.sources_path(part)) for part in _parts_of(rows)}
            old = [times_s[part] < wanted.before_s for part in rows.column("part").to_pylist()]
            rows = rows.filter(pa.array(old, pa.bool_()))
        if rows.num_rows == 0:
            return
        if dry_run:
            told.sources = count_reasons([rows])
            return
        rows = rows.slice(0, per_part)
        part = f"{max(int(part) for part in plan_store.parts(store)) + 1:05d}"
        if plan_store.write_inputs(store, part, _entries(store, rows)):
            told.parts.append(part)
            for reason, count in count_reasons([rows]).items():
                told.sources[reason] = told.sources.get(reason, 0) + count
        else:
            lost += 1
    raise RetryError(f"{store.root}: others list sources all the time; try again when they are done")


def _entries(store: Store, rows: pa.Table) -> pa.Table:
    """The entries of failed sources as they were listed, each with the number of its next attempt."""
    found = []
    for part in _parts_of(rows):
        listed = plan_store.read_inputs(store, part)
        if "attempt" in listed.column_names:
            listed = listed.drop_columns(["attempt"])
        here = rows.filter(pc.equal(rows.column("part"), part))
        at = pc.index_in(here.column("source_key"), value_set=listed.column("source_key").combine_chunks())
        next_attempt = pc.add(here.column("attempt"), pa.scalar(1, pa.int16()))
        found.append(listed.take(at).append_column("attempt", next_attempt))
    return pa.concat_tables(found, promote_options="default")


def _parts_of(rows: pa.Table) -> list[str]:
    return sorted(pc.unique(rows.column("part")).to_pylist())


def _listed(names: Mapping[str, Any]) -> str:
    return ", ".join(names) or "none"
