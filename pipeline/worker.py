"""Run part of a chain on one unit, in this process: what a Ray task or actor does with a block.

The unit travels as one Arrow table with every planned row. `UnitRunner` hands each stage the live rows only,
puts what comes back beside the ended rows, and keeps a tally. It holds the rule that no stage adds, drops or
reorders rows. A stage that raises stops its unit, not the run: the unit stays uncommitted and is tried again by
the next start. What the worker is at is told to `services.watch`, stage by stage: a worker may die, or hang, in any.
"""

from __future__ import annotations

import json
import logging
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace

import pyarrow as pa
import pyarrow.compute as pc

from corpus.schema import OUTCOME
from corpus.storage_faults import storage_fault
from corpus.work_ids import attempt_of
from pipeline.chain import Link
from pipeline.isolate import OPEN, Clip, Crash
from stages.base import Metrics, Services, with_columns
from stages.turns import SiteShut

#: One string column that travels with a unit between workers: the tally so far, as JSON in its first row.
TALLY = "_tally"

#: How a stage is called among the steps that a worker is at.
STAGE = "stage "

#: How the clips that killed their worker are counted.
CRASHED = "failed/crashed"

log = logging.getLogger(__name__)


class StageBrokeItsPromise(Exception):
    """A stage returned other rows than it got, or columns of another type than it said."""


@dataclass
class StageTally:
    """What one stage did to one unit. `audio_ms` is the planned audio of the clips it was given."""

    stage: str
    clips_in: int = 0
    clips_out: int = 0
    audio_ms: int = 0
    seconds: float = 0.0
    ended: dict[str, int] = field(default_factory=dict)  # "outcome/reason" -> clips
    ended_ms: dict[str, int] = field(default_factory=dict)  # "outcome/reason" -> their planned audio


@dataclass
class UnitTally:
    """What has happened to a unit so far in this leg. `error`: it is not to be committed; `stop`: nothing can be."""

    unit_id: str
    stages: list[StageTally] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    error: str | None = None
    stop: str | None = None
    lost: bool = False  # it has killed its worker as often as it may; `error` says so
    commit_seconds: float = 0.0
    commit_bytes: int = 0
    counts: dict[str, float] = field(default_factory=dict)  # what stages told the metrics, by name

    def fail(self, what: str, error: BaseException) -> None:
        """Note that `what` ended with `error`. A full disk, or a site that is shut, is no matter of this unit alone."""
        self.error = f"{what}, unit {self.unit_id}: {type(error).__name__}: {error}"
        fault = error if isinstance(error, SiteShut) else storage_fault(error)
        self.stop = None if fault is None else str(fault)

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> UnitTally:
        values = json.loads(text)
        values["stages"] = [StageTally(**stage) for stage in values["stages"]]
        return cls(**values)


class UnitRunner:
    """A run of consecutive stages, opened once, applied to unit after unit.

    `stage_limit_s`: how long opening them, or a stage of a unit, may take from one sign of life to the next.
    """

    def __init__(self, links: Sequence[Link], services: Services, stage_limit_s: float | None = None) -> None:
        self._links = list(links)
        self._told = _Told(services.metrics)
        self._services = replace(services, metrics=self._told)
        self._limit_s = stage_limit_s
        self._open = False

    def run(self, unit: pa.Table, crashed: Mapping[str, Crash] | None = None, share: float = 1.0) -> pa.Table:
        """The unit after these stages; its tally says what they did. Never raises for what a stage does.

        `crashed`: clips that are known to kill a stage, and are ended before it. `share` of the stages' time is given.
        """
        tally = _tally_of(unit)
        if tally.error is None:
            with _Warnings(tally.warnings), self._told.of(tally):
                unit = self._run(unit, tally, crashed or {}, share)
        return _with_tally(unit, tally)

    def _run(self, unit: pa.Table, tally: UnitTally, crashed: Mapping[str, Crash], share: float) -> pa.Table:
        name = OPEN
        try:
            self.open()
            for link in self._links:
                name = link.name
                counts = StageTally(stage=name)
                limit_s = None if self._limit_s is None else self._limit_s * share
                with self._services.watch(STAGE + name, tally.unit_id, limit_s=limit_s):
                    unit = run_stage(link, unit, counts, crashed)
                tally.stages.append(counts)
        except Exception as error:  # noqa: BLE001  a bug of one stage must not take the other units down
            tally.fail(f"stage {name}", error)
            log.error("%s\n%s", tally.error, traceback.format_exc())
        return unit

    def open(self) -> None:
        """Open the stages, if they are not open."""
        if not self._open:
            with self._services.watch(STAGE + OPEN, limit_s=self._limit_s):
                for link in self._links:
                    link.stage.open(self._services)
            self._open = True

    def close(self) -> None:
        """Give back what the stages hold."""
        if self._open:
            for link in self._links:
                link.stage.close()
            self._open = False


def run_stage(link: Link, unit: pa.Table, tally: StageTally, crashed: Mapping[str, Crash] | None = None) -> pa.Table:
    """One stage on the unit's live rows. Raises StageBrokeItsPromise when it does not keep to its contract."""
    started = time.perf_counter()
    live = pc.is_null(unit.column("outcome"))
    given = unit.filter(live)
    tally.clips_in = given.num_rows
    tally.audio_ms = pc.sum(_spans(given)).as_py() or 0
    if here := {clip_id: crash for clip_id, crash in (crashed or {}).items() if crash.stage == link.name}:
        unit = _end_crashed(unit, here)
        live = pc.is_null(unit.column("outcome"))
        given = unit.filter(live)
    returned = link.stage.run(given) if given.num_rows else given
    _check_promise(link, given, returned)
    unit = _merge(link, unit, live, returned)
    _count_endings(returned, tally)
    if here:
        tally.ended[CRASHED] = tally.clips_in - given.num_rows
        tally.ended_ms[CRASHED] = tally.audio_ms - (pc.sum(_spans(given)).as_py() or 0)
    tally.seconds = time.perf_counter() - started
    return unit


def _end_crashed(unit: pa.Table, crashed: Mapping[str, Crash]) -> pa.Table:
    """The unit with these of its live clips ended."""
    rows = unit.select(["clip_id", *OUTCOME.names]).to_pylist()
    for row in rows:
        crash = crashed.get(row["clip_id"])
        if crash is not None and row["outcome"] is None:
            row.update(outcome="failed", reason="crashed", detail=crash.detail, stage=crash.stage)
    return with_columns(unit, {name: [row[name] for row in rows] for name in OUTCOME.names[:4]}, OUTCOME)


def _spans(clips: pa.Table) -> pa.ChunkedArray:
    return pc.subtract(clips.column("end_ms"), clips.column("start_ms"))


def _check_promise(link: Link, given: pa.Table, returned: pa.Table) -> None:
    if given.num_rows == 0:
        return
    if returned.num_rows != given.num_rows or not returned.column("clip_id").equals(given.column("clip_id")):
        raise StageBrokeItsPromise(
            f"stage {link.name} was given {given.num_rows} clips and returned {returned.num_rows} "
            "or another order; a stage never adds, drops or reorders rows"
        )
    for promised in link.stage.adds:
        at = returned.schema.get_field_index(promised.name)
        if at < 0:
            raise StageBrokeItsPromise(f"stage {link.name} says it adds {promised.name} but did not")
        if returned.schema.field(at).type != promised.type:
            raise StageBrokeItsPromise(
                f"stage {link.name} adds {promised.name} as {returned.schema.field(at).type}, not {promised.type}"
            )


def _merge(link: Link, unit: pa.Table, live: pa.Array, returned: pa.Table) -> pa.Table:
    """Put the stage's columns beside all rows of the unit: ended rows keep what they had, or null."""
    changed = [*link.stage.adds.names, *getattr(link.stage, "changes", ()), *OUTCOME.names[:3]]
    places = _places(live)
    for name in dict.fromkeys(changed):
        if name not in returned.column_names:
            if name in link.stage.adds.names:  # nothing was live: the column is there all the same
                unit = _set(
                    unit,
                    link.stage.adds.field(name),
                    pa.nulls(unit.num_rows, link.stage.adds.field(name).type),
                )
            continue
        typed = returned.schema.field(name)
        spread = returned.column(name).combine_chunks().take(places)
        if name in unit.column_names:
            spread = pc.if_else(live, spread, unit.column(name).combine_chunks().cast(typed.type))
        unit = _set(unit, pa.field(name, typed.type), spread)
    ended = pc.and_(live, pc.is_valid(unit.column("outcome")))
    stage = pc.if_else(ended, link.name, unit.column("stage"))
    return with_columns(unit, {"stage": stage}, OUTCOME)


def _places(live: pa.Array) -> pa.Array:
    """For each row of the unit its place among the live rows, or null."""
    count = 0
    places: list[int | None] = []
    for is_live in live.to_pylist():
        places.append(count if is_live else None)
        count += bool(is_live)
    return pa.array(places, type=pa.int64())


def _set(unit: pa.Table, typed: pa.Field, values: pa.Array) -> pa.Table:
    at = unit.schema.get_field_index(typed.name)
    return unit.set_column(at, typed, values) if at >= 0 else unit.append_column(typed, values)


def _count_endings(returned: pa.Table, tally: StageTally) -> None:
    if "outcome" not in returned.column_names:
        tally.clips_out = returned.num_rows
        return
    pairs = zip(returned.column("outcome").to_pylist(), returned.column("reason").to_pylist(), strict=True)
    counts = Counter(f"{outcome}/{reason}" for outcome, reason in pairs if outcome is not None)
    tally.ended = dict(sorted(counts.items()))
    tally.clips_out = returned.num_rows - counts.total()
    if counts:
        tally.ended_ms = _ended_ms(returned)


def _ended_ms(returned: pa.Table) -> dict[str, int]:
    sums: Counter[str] = Counter()
    for row in returned.select(["outcome", "reason", "start_ms", "end_ms"]).to_pylist():
        if row["outcome"] is not None:
            sums[f"{row['outcome']}/{row['reason']}"] += row["end_ms"] - row["start_ms"]
    return dict(sorted(sums.items()))


def start_unit(unit: pa.Table, unit_id: str) -> pa.Table:
    """A planned (or committed) unit, or a retry, made ready for a leg: outcome columns in place, `ok` taken as live."""
    for typed in OUTCOME:
        if typed.name not in unit.column_names:
            unit = unit.append_column(typed, pa.nulls(unit.num_rows, typed.type))
    outcome = unit.column("outcome")
    unit = with_columns(unit, {"outcome": pc.if_else(pc.equal(outcome, "ok"), None, outcome)}, OUTCOME)
    attempts = [attempt_of(unit_id)] * unit.num_rows
    return _with_tally(with_columns(unit, {"attempt": attempts}, OUTCOME), UnitTally(unit_id=unit_id))


def give_up(unit: pa.Table) -> pa.Table:
    """The unit, marked as one that kills its worker."""
    tally = _tally_of(unit)
    tally.lost, tally.error = True, f"unit {tally.unit_id} kills its worker"
    return _with_tally(unit, tally)


def given_up(unit_id: str) -> pa.Table:
    """What stands for a unit that kills its worker while it is read."""
    return pa.table({TALLY: [UnitTally(unit_id, error=f"unit {unit_id} kills its worker", lost=True).to_json()]})


def work_id_of(unit: pa.Table) -> str:
    """The unit's id: not that of its rows, where it is a retry."""
    return _tally_of(unit).unit_id


def live_clips(unit: pa.Table) -> list[Clip]:
    """The clips that have not ended."""
    live = unit.filter(pc.is_null(unit.column("outcome"))).select(["clip_id", "source_id"])
    return [Clip(row["clip_id"], row["source_id"]) for row in live.to_pylist()]


def part_of_unit(unit: pa.Table, clip_ids: Sequence[str]) -> pa.Table:
    """Some rows of a unit, as a unit."""
    rows, tally = finish_unit(unit)
    return _with_tally(rows.filter(pc.is_in(rows.column("clip_id"), pa.array(clip_ids, pa.string()))), tally)


def _tally_of(unit: pa.Table) -> UnitTally:
    return UnitTally.from_json(unit.column(TALLY)[0].as_py())


def _with_tally(unit: pa.Table, tally: UnitTally) -> pa.Table:
    values = [tally.to_json(), *([None] * (unit.num_rows - 1))]
    return _set(unit, pa.field(TALLY, pa.string()), pa.array(values, type=pa.string()))


def finish_unit(unit: pa.Table) -> tuple[pa.Table, UnitTally]:
    """The unit without its travelling column, and its tally."""
    return unit.drop_columns([TALLY]), _tally_of(unit)


class _Told(Metrics):
    """Metrics that are told on, and added up for the unit in hand."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._tally: UnitTally | None = None

    @contextmanager
    def of(self, tally: UnitTally) -> Iterator[None]:
        self._tally = tally
        try:
            yield
        finally:
            self._tally = None

    def count(self, name: str, value: float = 1.0, **tags: str) -> None:
        if self._tally is not None:
            self._tally.counts[name] = self._tally.counts.get(name, 0.0) + value
        self._metrics.count(name, value, **tags)


class _Warnings(logging.Handler):
    """Collect warnings that stages log while a unit runs, at most 20: workers' logs are far from the user's eyes."""

    def __init__(self, into: list[str]) -> None:
        super().__init__(level=logging.WARNING)
        self._into = into

    def emit(self, record: logging.LogRecord) -> None:
        if len(self._into) < 20:
            self._into.append(f"{record.levelname} {record.name}: {record.getMessage()}"[:500])

    def __enter__(self) -> _Warnings:
        logging.getLogger().addHandler(self)
        return self

    def __exit__(self, *exc: object) -> None:
        logging.getLogger().removeHandler(self)
