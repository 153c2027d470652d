"""The dedup leg: a job over the whole corpus that writes its columns unit by unit, like any leg.

    legs:
      dedup:
        after: models
        job: {use: dedup}

What a copy is depends on all clips there are, so the columns belong to one state of the corpus, a generation: the
compacted files that they were made from, and the leg's definition. `corpus/generations/<leg>.json` names it. As long
as it is the same, a start does nothing, or commits what a killed one has left undone, byte by byte the same. When the
corpus has grown (or the rules were changed) the old columns are taken away and all are made anew.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from corpus import attempts, compact, plan_store, units
from corpus.compacted import compacted_folder
from corpus.dedup import Rules
from corpus.dedup_clips import ok_clips, scan_clips
from corpus.schema import DEDUP, OUTCOME
from corpus.store import Store
from pipeline.config import DedupJob, Recipe
from pipeline.dedup_job import Copies, in_blocks
from pipeline.legjob import count_endings, plan_part_sha256
from pipeline.run import LegEnd, LegStart, UnitDone, column_legs
from pipeline.runfolder import OtherRun, start_leg
from pipeline.spread import Here, OnRay, Spread
from pipeline.todo import refuse_other_plan
from pipeline.worker import StageTally, UnitTally

log = logging.getLogger(__name__)

#: Corpora of fewer clips are done in this process: starting Ray's workers would take longer.
SMALL = 20_000

#: Fingerprints of a block, in clips: at least this, and at most some forty blocks.
BLOCK_CLIPS, BLOCKS = 131_072, 40

#: Units that one task commits.
_UNITS_A_TASK = 64

#: Changes when the same corpus would get other columns.
_METHOD = 1


@dataclass(frozen=True)
class _Unit:
    """A unit's clips are rows first to first + count of the columns."""

    unit_id: str
    first: int
    count: int


@dataclass(frozen=True)
class _Where:
    """What a commit must know besides the unit."""

    run_root: str
    leg: str
    root_leg: str
    after: str | None  # None: the root leg
    recipe_sha256: str


def run_dedup(store: Store, recipe: Recipe, leg: str) -> Iterator[LegStart | UnitDone | LegEnd]:
    """Run the job over the units that every leg before it has committed. Raises OtherRun."""
    started = time.monotonic()
    job = recipe.legs[leg].job
    assert job is not None
    infos = {info.unit_id: info for info in plan_store.iter_units(store)}
    if not infos:
        raise OtherRun(f"{store.root} has no plan yet; start with: autorecap plan")
    legs = [recipe.root_leg, *column_legs(recipe, leg)]
    after = recipe.legs[leg].after
    if after is not None and after not in legs:
        legs.append(after)
    ready = set(infos).intersection(*(units.done_units(store, name, root=name == legs[0]) for name in legs))
    for unit_id in {infos[unit_id].part: unit_id for unit_id in sorted(ready)}.values():
        refuse_other_plan(store, unit_id)
    where = _Where(str(store.root), leg, legs[0], None if after == legs[0] else after, start_leg(store, recipe, leg))
    if ready:
        _start_generation(store, leg, legs, where.recipe_sha256)
    done = units.done_units(store, leg, root=False) & set(infos)
    yield LegStart(
        leg=leg,
        units=len(infos),
        units_done=len(done),
        clips=sum(info.rows for info in infos.values()),
        clips_done=sum(infos[unit_id].rows for unit_id in done),
        audio_ms=sum(info.audio_ms for info in infos.values()),
        stages=(job.use,),
    )
    end = LegEnd(leg=leg, seconds=0.0, committed=0, undone=0)
    if ready - done:
        clips = sum(infos[unit_id].rows for unit_id in ready)
        for event in _find_and_commit(store, job, legs, where, _spread(recipe, clips), clips, done):
            end.committed += event.error is None
            if event.error is not None:
                end.errors.append(event.error)
                log.error("%s", event.error)
            yield event
    end.undone = len(set(infos) - units.done_units(store, leg, root=False))
    compact.compact(store, leg, root=False)
    end.seconds = time.monotonic() - started
    yield end


def _spread(recipe: Recipe, clips: int) -> Spread:
    if clips < SMALL:
        return Here()
    how = recipe.execution
    return OnRay(how.ray_address, how.cpus, how.task_retries)


# -- generations


def generation_path(leg: str) -> str:
    return f"corpus/generations/{leg}.json"


def _start_generation(store: Store, leg: str, legs: Sequence[str], definition_sha256: str) -> None:
    """Take away what was made from another state of the corpus. Killed half-way, the next start does it again."""
    made_from = {name: [path.rsplit("/", 1)[1] for path in _compacted(store, name, legs)] for name in legs}
    record = {"method": _METHOD, "definition_sha256": definition_sha256, "made_from": made_from}
    data = (json.dumps(record, indent=2, sort_keys=True) + "\n").encode()
    path = generation_path(leg)
    if store.exists(path) and store.read(path) == data:
        return
    for old in [*store.list(compacted_folder(leg)), *store.list(f"corpus/columns/{leg}")]:
        store.delete(old)
    store.replace(path, data)


def _compacted(store: Store, name: str, legs: Sequence[str]) -> list[str]:
    return compact.compact(store, name, root=name == legs[0])


# -- finding and committing


def _find_and_commit(
    store: Store, job: DedupJob, legs: Sequence[str], where: _Where, spread: Spread, planned: int, done: set[str]
) -> Iterator[UnitDone]:
    started = time.perf_counter()
    found: list[_Unit] = []
    copies = Copies(spread, Rules(max_bit_errors=job.max_bit_errors, min_overlap=job.min_overlap))
    ids: list[pa.Array] = []

    def clips() -> Iterator[pa.Table]:
        rows = 0
        for table, unit_ids in scan_clips(store, legs, near=job.near):
            ok = ok_clips(table)
            counts = Counter(ok.column("unit_id").to_pylist())
            for unit_id in unit_ids:
                found.append(_Unit(unit_id, rows, counts[unit_id]))
                rows += counts[unit_id]
            ids.append(ok.column("clip_id").combine_chunks())
            yield ok.drop_columns(["unit_id"])

    for block in in_blocks(clips(), max(BLOCK_CLIPS, planned // BLOCKS)):
        copies.add(block)
    columns = pa.table({"clip_id": pa.concat_arrays(ids), **copies.find()})
    todo = [unit for unit in found if unit.unit_id not in done]
    seconds = (time.perf_counter() - started) / max(columns.num_rows, 1)
    calls = (
        (where, some, columns.slice(some[0].first, sum(unit.count for unit in some)), seconds)
        for at in range(0, len(todo), _UNITS_A_TASK)
        for some in _neighbours(todo[at : at + _UNITS_A_TASK])
    )
    for events in spread.each(commit_units, calls):
        yield from events


def _neighbours(some: list[_Unit]) -> Iterator[list[_Unit]]:
    """Runs of units whose clips lie together in the columns: a killed start may have left holes."""
    run: list[_Unit] = []
    for unit in some:
        if run and run[-1].first + run[-1].count != unit.first:
            yield run
            run = []
        run.append(unit)
    if run:
        yield run


def commit_units(where: _Where, some: list[_Unit], columns: pa.Table, seconds: float) -> list[UnitDone]:
    """Commit units; `columns` are those of their ok clips, `seconds` what finding a clip's copies took."""
    store = Store(where.run_root)
    events = []
    for unit in some:
        rows = columns.slice(unit.first - some[0].first, unit.count)
        try:
            events.append(_commit_unit(store, where, unit, rows, seconds))
        except Exception as error:  # noqa: BLE001  a full disk or a damaged file concerns this unit; the driver judges
            text = f"commit, unit {unit.unit_id}: {type(error).__name__}: {error}"
            events.append(UnitDone(where.leg, unit.unit_id, 0, {}, 0, UnitTally(unit.unit_id, error=text)))
    return events


def _commit_unit(store: Store, where: _Where, unit: _Unit, found: pa.Table, seconds: float) -> UnitDone:
    keys = ["clip_id", "unit_id", "row"]
    root = units.read_parquet(store, units.root_path(unit.unit_id), columns=[*keys, "start_ms", "end_ms"])
    leg, is_root = where.after or where.root_leg, where.after is None
    rows = attempts.read_latest(store, leg, unit.unit_id, root=is_root, columns=[*keys, *OUTCOME.names])
    ok = pc.indices_nonzero(pc.equal(rows.column("outcome"), "ok"))
    if not rows.column("clip_id").take(ok).combine_chunks().equals(found.column("clip_id").combine_chunks()):
        raise ValueError(f"unit {unit.unit_id} of leg {leg} has other clips than corpus/compacted; run again")
    places = pc.index_in(rows.column("clip_id"), value_set=found.column("clip_id").combine_chunks())
    for typed in DEDUP:
        rows = rows.append_column(typed, found.column(typed.name).combine_chunks().take(places))
    meta = units.UnitMeta(
        leg=where.leg,
        recipe_sha256=where.recipe_sha256,
        plan_part_sha256=plan_part_sha256(where.run_root, plan_store.part_of(unit.unit_id)),
    )
    units.commit_columns(store, where.leg, root, rows, DEDUP, meta)
    spans = root.select(["start_ms", "end_ms"])
    whole = rows.append_column("start_ms", spans.column(0)).append_column("end_ms", spans.column(1))
    outcomes, audio_ms = count_endings(whole)
    kinds = Counter(kind for kind in found.column("dup_kind").to_pylist() if kind is not None)
    tally = StageTally(
        "dedup",
        clips_in=found.num_rows,
        clips_out=found.num_rows - kinds.total(),
        audio_ms=audio_ms,
        seconds=seconds * found.num_rows,
        ended={f"duplicate/{kind}": count for kind, count in sorted(kinds.items())},
    )
    return UnitDone(where.leg, unit.unit_id, rows.num_rows, outcomes, audio_ms, UnitTally(unit.unit_id, [tally]))
