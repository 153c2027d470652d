"""What a worker is told about a leg, and what it does with a unit: read, run its share of the chain, commit.

A unit here is whatever a work id names: a planned unit, or a retry of some of its clips (corpus/attempts.py).

`LegJob` is plain data: it travels to Ray workers, which build their stages from it and keep them open for the
life of the process. A leg's chain is cut into groups: plain tasks for stages without a model, one pool of actors
for a stretch of stages that holds models. The last group commits.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from corpus import attempts, plan_store, units
from corpus.store import Store
from corpus.work_ids import attempt_of, unit_of
from pipeline.chain import Link
from pipeline.governor_actor import cluster_governor
from pipeline.metrics import RayMetrics, run_name
from pipeline.worker import TALLY, UnitTally, finish_unit, start_unit
from stages.base import Services
from stages.cache import MediaCache
from stages.registry import build_stage


@dataclass(frozen=True)
class Group:
    """A stretch of the chain that one kind of worker runs. `pool` None = plain tasks."""

    pool: str | None
    stages: tuple[tuple[str, str], ...]  # (use, options as JSON)


@dataclass(frozen=True)
class LegJob:
    """Everything a worker must know, as plain values."""

    run_root: str
    cache_dir: str
    leg: str
    after: str | None
    root_leg: str
    column_legs: tuple[str, ...]  # legs between the root leg and this one, in order: their columns are read too
    recipe_sha256: str
    groups: tuple[Group, ...]
    ytdlp: str = field(repr=False)  # JSON; it may hold a password
    devices: tuple[str, ...]  # per group
    threads: tuple[int, ...]  # per group
    keep_audio: units.KeepAudio = ()
    stage_limit_s: float = 3600.0
    worker_max_memory_mb: float | None = None

    @property
    def is_root(self) -> bool:
        return self.after is None

    @property
    def legs(self) -> tuple[str, ...]:
        """This leg and those before it, root leg first: a retry that begins in one of them is this leg's, too."""
        return (self.leg,) if self.is_root else (self.root_leg, *self.column_legs, self.leg)

    def services(self, group: int) -> Services:
        return Services(
            run_root=self.run_root,
            cache_dir=Path(self.cache_dir),
            device=self.devices[group],
            threads=self.threads[group],
            ytdlp=json.loads(self.ytdlp),
            governor=cluster_governor(),
            metrics=RayMetrics(run_name(self.run_root)),
        )

    def links(self, group: int) -> list[Link]:
        pool = self.groups[group].pool or "tasks"
        return [Link(use, build_stage(use, json.loads(options)), pool) for use, options in self.groups[group].stages]


def cut_into_groups(links: Sequence[Link], specs: Sequence[tuple[str, Mapping[str, Any]]]) -> tuple[Group, ...]:
    """Stages from the first to the last that needs a model of one pool share that pool's actors.

    What stands between two model stages of a pool (join, keywords) is cheap: it runs on the same actors, so that
    a unit crosses processes once and the models are loaded once.
    """
    where: list[str | None] = [link.pool if link.stage.needs().model else None for link in links]
    for pool in dict.fromkeys(name for name in where if name):
        first, last = where.index(pool), len(where) - 1 - where[::-1].index(pool)
        if all(name in (None, pool) for name in where[first:last]):
            where[first : last + 1] = [pool] * (last + 1 - first)
    groups: list[Group] = []
    for pool_name, (use, options) in zip(where, specs, strict=True):
        stage = (use, json.dumps(dict(options), sort_keys=True))
        if groups and groups[-1].pool == pool_name:
            groups[-1] = Group(pool_name, (*groups[-1].stages, stage))
        else:
            groups.append(Group(pool_name, (stage,)))
    return tuple(groups)


def read_unit(job: LegJob, unit_id: str) -> pa.Table:
    """The unit, or the clips of a retry, as the leg's first stage sees it."""
    store = Store(job.run_root)
    if job.is_root:
        return start_unit(attempts.read_planned(store, unit_id, job.legs), unit_id)
    unit = _as_of(store, job.root_leg, unit_id, root=True)
    for leg in job.column_legs:
        unit = _beside(unit, _as_of(store, leg, unit_id, root=False))
    if attempt_of(unit_id):
        again = attempts.read_planned(store, unit_id, job.legs).column("clip_id").combine_chunks()
        unit = unit.filter(pc.is_in(unit.column("clip_id"), value_set=again)).combine_chunks()
    return start_unit(unit, unit_id)


def _as_of(store: Store, leg: str, work: str, *, root: bool) -> pa.Table:
    """A unit as a leg had left it when this attempt was planned: later retries do not change what it starts from."""
    unit_id, attempt = unit_of(work), attempt_of(work)
    known = [0]
    if attempt:
        known = [number for number in attempts.attempts_of(store, leg, unit_id, root=root) if number <= attempt]
    return attempts.read_latest(store, leg, unit_id, root=root, attempts=known or [0])


def read_unit_or_say(job: LegJob, unit_id: str) -> pa.Table:
    """The unit; where it cannot be read, one row that says so to the driver (Ray would drop the block in silence)."""
    try:
        return read_unit(job, unit_id)
    except Exception as error:  # noqa: BLE001  a damaged file concerns this unit; the driver judges
        tally = UnitTally(unit_id, error=f"read, unit {unit_id}: {type(error).__name__}: {error}")
        return pa.table({TALLY: [tally.to_json()]})


def _beside(unit: pa.Table, columns: pa.Table) -> pa.Table:
    """The root's rows with a later leg's columns and outcomes laid over them."""
    for name in columns.column_names:
        at = unit.schema.get_field_index(name)
        column = columns.column(name)
        unit = unit.set_column(at, name, column) if at >= 0 else unit.append_column(name, column)
    return unit


def commit(job: LegJob, unit: pa.Table) -> pa.Table:
    """Commit the unit (unless a stage failed) and say in one row what became of it."""
    unit, tally = finish_unit(unit)
    won = False
    outcomes: dict[str, int] = {}
    audio_ms = 0
    if tally.error is None:
        try:
            started = time.perf_counter()
            rows, result = _commit_rows(job, unit, tally.unit_id)
            tally.commit_seconds, tally.commit_bytes = time.perf_counter() - started, result.put
            won = result.committed
            outcomes, audio_ms = count_endings(rows)
        except Exception as error:  # noqa: BLE001  a full disk or a refusal concerns this unit; the driver judges
            tally.fail("commit", error)
    return summary(tally, won=won, outcomes=outcomes, audio_ms=audio_ms)


def _commit_rows(job: LegJob, unit: pa.Table, unit_id: str) -> tuple[pa.Table, units.CommitResult]:
    store = Store(job.run_root)
    attempt = attempt_of(unit_id)
    part = plan_store.part_of(unit_id)
    meta = units.UnitMeta(
        leg=job.leg, recipe_sha256=job.recipe_sha256, plan_part_sha256=plan_part_sha256(job.run_root, part)
    )
    if job.is_root:
        planned = attempts.read_planned(store, unit_id, job.legs)
        unit = unit.drop_columns([name for name in passing(job) if name in unit.column_names])
        result = units.commit_root(store, planned, unit, meta, attempt=attempt, keep_audio=job.keep_audio)
        if result.committed:
            forget_media(store, Path(job.cache_dir), job.leg, unit_id, planned)
    else:
        keys = attempts.read_planned(store, unit_id, job.legs) if attempt else units.read_root_unit(store, unit_id)
        result = units.commit_columns(store, job.leg, keys, unit, kept_columns(job), meta, attempt=attempt)
    return unit, result


@lru_cache(maxsize=8)
def kept_columns(job: LegJob) -> pa.Schema:
    """What the leg's stages add and the corpus keeps."""
    adds = pa.unify_schemas([link.stage.adds for at in range(len(job.groups)) for link in job.links(at)])
    return pa.schema([typed for typed in adds if typed.name not in passing(job)])


@lru_cache(maxsize=8)
def passing(job: LegJob) -> frozenset[str]:
    """Columns that stages add for later stages of the leg only. Asked for each unit: building stages takes 5 ms."""
    links = [link for at in range(len(job.groups)) for link in job.links(at)]
    return frozenset(name for link in links for name in getattr(link.stage, "transient", ()))


@lru_cache(maxsize=64)
def plan_part_sha256(run_root: str, part: str) -> str:
    """Hash of a plan part; parts never change once planned."""
    return plan_store.part_sha256(Store(run_root), part)


def count_endings(rows: pa.Table) -> tuple[dict[str, int], int]:
    """Clips by outcome/reason after the commit, and the audio of those that are ok."""
    counts: Counter[str] = Counter()
    audio_ms = 0
    names = ["outcome", "reason", "start_ms", "end_ms"]
    for row in rows.select(names).to_pylist():
        if row["outcome"] in (None, "ok"):
            counts["ok"] += 1
            audio_ms += row["end_ms"] - row["start_ms"]
        else:
            counts[f"{row['outcome']}/{row['reason']}"] += 1
    return dict(sorted(counts.items())), audio_ms


SUMMARY = pa.schema(
    [
        pa.field("unit_id", pa.string()),
        pa.field("tally", pa.string()),
        pa.field("committed", pa.bool_()),
        pa.field("lost", pa.bool_()),
        pa.field("outcomes", pa.string()),
        pa.field("audio_ms", pa.int64()),
    ]
)


def summary(tally: UnitTally, *, won: bool, outcomes: Mapping[str, int], audio_ms: int) -> pa.Table:
    """One row for the driver: small, whatever the unit held."""
    row = {
        "unit_id": tally.unit_id,
        "tally": tally.to_json(),
        "committed": won,
        "lost": tally.lost,
        "outcomes": json.dumps(dict(outcomes)),
        "audio_ms": audio_ms,
    }
    return pa.Table.from_pylist([row], schema=SUMMARY)


def forget_media(store: Store, cache_dir: Path, root_leg: str, work: str, planned: pa.Table) -> None:
    """Delete cached media that no uncommitted unit, and no uncommitted retry, needs any more.

    A source of one unit goes at once. One that spans k consecutive units goes when every unit within k of this one
    is committed: which of them hold the source is not looked up, so it may stay a little longer than it must.
    """
    spans = dict(zip(planned.column("source_id").to_pylist(), planned.column("source_units").to_pylist(), strict=True))
    cache = MediaCache(cache_dir)
    for source_id, source_units in spans.items():
        if (cache_dir / source_id).is_dir() and _neighbours_done(store, root_leg, work, source_units or 1):
            cache.drop(source_id)


def _neighbours_done(store: Store, root_leg: str, work: str, reach: int) -> bool:
    attempt = attempt_of(work)
    if reach <= 1 and not attempt:
        return True
    part, number = unit_of(work).split("-")
    known = set(plan_store.unit_ids(store, part))
    near = {f"{part}-{at:05d}" for at in range(int(number) - reach + 1, int(number) + reach) if at >= 0} & known
    if not all(store.exists(units.root_path(unit)) for unit in near):
        return False
    return not any(unit_of(retry) in near for retry in attempts.pending_retries(store, [root_leg], part))
