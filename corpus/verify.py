"""Verify a corpus: every unit against its plan, every tar against its hash and its rows, every count.

    report = verify_corpus(store, ["fetch", "models"], decode=True)

With `sweep`, what killed writers left behind (corpus/sweep.py) is deleted; without, it is counted.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus import compacted, plan_store, units
from corpus.attempts import attempts_by_unit
from corpus.plan_store import UnitInfo
from corpus.report import Check, Report
from corpus.schema import OUTCOMES, SOURCES
from corpus.store import Store
from corpus.sweep import leftovers
from corpus.sweep import sweep as sweep_away
from corpus.verify_dedup import look_at_dedup
from corpus.verify_retries import Retries, look_at_retries
from corpus.verify_unit import UnitFindings, look_at_unit
from corpus.verify_views import look_at_views
from corpus.work_ids import WORK_ID, work_id

Given = TypeVar("Given")
Found = TypeVar("Found")

#: A report names so many faults of one kind; the rest are counted.
FAULTS_SHOWN = 5

#: Units whose findings are kept while the first of them is waited for.
_AHEAD = 64


@dataclass
class _Plan:
    """The plan, as far as it can be read."""

    units: dict[str, UnitInfo] = field(default_factory=dict)
    sha256: dict[str, str] = field(default_factory=dict)  # part -> hash of its clips
    sources: int = 0
    faults: list[str] = field(default_factory=list)


@dataclass
class _Leg:
    """What was found in one leg."""

    name: str
    root: bool
    read: set[str] = field(default_factory=set)  # units whose Parquet is sound
    sha256: dict[str, str] = field(default_factory=dict)  # unit -> hash of its Parquet
    faults: list[str] = field(default_factory=list)
    tar_faults: list[str] = field(default_factory=list)
    tars: set[str] = field(default_factory=set)
    clips_with_audio: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)


def verify_corpus(
    store: Store, legs: Sequence[str], *, decode: bool = False, sweep: bool = False, spare_s: float = 0.0
) -> Report:
    """Check a run folder whose legs (root leg first) have committed what they have. See the module's text.

    `spare_s`: leftovers younger than this are left alone, since a driver is at work.
    """
    left = leftovers(store)  # listed first: what is committed from here on is no orphan
    plan = _read_plan(store)
    clips = sum(info.rows for info in plan.units.values())
    said = f"{plan.sources} sources, {clips} clips in {len(plan.units)} units"
    checks = [_listed("plan: sources and clips agree", plan.faults, said)]
    root: _Leg | None = None
    for at in range(len(legs)):
        leg, leg_checks = _look_at_leg(store, legs[: at + 1], plan, root, decode=decode)
        checks += leg_checks
        root = root or leg
    checks.append(look_at_views(store))
    named, read = (root.tars, root.read) if root else (set(), set())
    swept = sweep_away(store, left, named, read, delete=sweep, spare_s=spare_s)
    checks.append(Check("leftovers of killed writers", True, swept.says(deleted=sweep)))
    return Report(checks)


# -- the plan


def _read_plan(store: Store) -> _Plan:
    plan = _Plan()
    for part in plan_store.planned_parts(store):
        try:
            _read_part(store, part, plan)
        except Exception as error:  # noqa: BLE001  a damaged file may fail in any way, and each must be told
            plan.faults.append(
                f"part {part} of the plan cannot be read ({error}); put plan/units/{part}.parquet and "
                f"plan/sources/{part}.parquet back from a copy"
            )
    return plan


def _read_part(store: Store, part: str, plan: _Plan) -> None:
    data = store.read(plan_store.units_path(part))
    planned = plan_store.as_planned(plan_store.whole_table(data))
    sources = plan_store.whole_table(store.read(plan_store.sources_path(part))).cast(SOURCES)
    plan.sha256[part] = hashlib.sha256(data).hexdigest()
    plan.sources += pc.sum(pc.equal(sources.column("attempt"), 0), min_count=0).as_py()  # each once
    rows = Counter(planned.column("unit_id").to_pylist())
    plan.units |= {unit_id: UnitInfo(unit_id, part, count, 0) for unit_id, count in rows.items()}
    named = pc.sum(sources.column("clips")).as_py() or 0
    if named != planned.num_rows:
        plan.faults.append(f"part {part}: its sources name {named} clips, {planned.num_rows} are planned")
    if pc.count_distinct(planned.column("clip_id")).as_py() != planned.num_rows:
        plan.faults.append(f"part {part}: a clip is planned twice")


# -- a leg


def _look_at_leg(
    store: Store, legs: Sequence[str], plan: _Plan, root: _Leg | None, *, decode: bool
) -> tuple[_Leg, Iterable[Check]]:
    """Look at the last of `legs`; a retry may begin in any of them."""
    name = legs[-1]
    leg = _Leg(name, root=root is None)
    done = sorted(units.done_work(store, name, root=leg.root))
    retries = look_at_retries(store, legs, plan.units)
    known = [work for work in done if work in plan.units or work in retries.planned]
    works = attempts_by_unit(known)
    strangers = [_stranger(name, work, root=leg.root) for work in set(done) - set(known)]

    def look(unit_id: str) -> list[UnitFindings]:
        sha256 = plan.sha256[plan.units[unit_id].part]
        mine = [work_id(unit_id, number) for number in works[unit_id]]
        return [look_at_unit(store, legs, work, sha256, decode=decode) for work in mine]

    for findings in _in_parallel(look, list(works)):
        _note(leg, findings, retries)
    if root is not None:
        leg.faults += [
            f"{units.columns_path(name, work)} stands alone: leg {root.name} has no such unit; delete it, or put "
            f"{units.root_path(work)} back"
            for work in known
            if retries.planned.get(work, root.name) == root.name
            and work not in root.sha256
            and not store.exists(units.root_path(work))
        ]
    planned = sum(plan.units[unit_id].rows for unit_id in works)
    sums = ", ".join(f"{leg.outcomes[outcome]} {outcome}" for outcome in OUTCOMES)
    checks = [
        _listed(f"{name}: units are planned ones", sorted(strangers), f"{len(works)} of {len(plan.units)} committed"),
        _listed(f"{name}: rows are the planned rows, each with an outcome", leg.faults, sums),
        _invariant(leg, planned),
    ]
    if own := retries.of(name):
        done_of_them = sum(work in leg.sha256 for work in own)
        said = f"{len(own)} retries, {done_of_them} of them committed"
        checks.append(_listed(f"{name}: retries are of clips that had failed", retries.faults, said))
    if leg.root:
        said = f"{len(leg.tars)} tars, {leg.clips_with_audio} clips{' decoded' if decode else ''}"
        checks.append(_listed("audio: tars match their hash, members their rows", leg.tar_faults, said))
    files, faults = _compacted(store, leg)
    checks.append(_listed(f"{name}: compacted files hold what the units hold", faults, f"{files} files"))
    complete = root is not None and {work for work in root.sha256 if work in plan.units} <= set(works)
    if not leg.root and (copies := look_at_dedup(store, name, list(works), complete=complete)) is not None:
        checks.append(_listed(f"{name}: every copy names a clip that is kept", copies.faults, copies.says()))
    return leg, checks


def _stranger(leg: str, work: str, *, root: bool) -> str:
    if WORK_ID.fullmatch(work):
        return f"{units.unit_path(leg, work, root=root)} is not in the plan; move it away"
    return f"{work}.parquet of leg {leg} is not named like a unit; move it away"


def _note(leg: _Leg, unit: Sequence[UnitFindings], retries: Retries) -> None:
    """What was found in a unit and its retries; a clip counts as its latest attempt left it."""
    endings: dict[str, str] = {}
    for findings in unit:
        leg.faults += findings.faults
        leg.tar_faults += findings.tar_faults
        leg.tars |= findings.tars
        leg.clips_with_audio += findings.clips_with_audio
        if findings.sha256 is not None:
            leg.sha256[findings.unit_id] = findings.sha256
        if findings.readable:
            leg.read.add(findings.unit_id)
        if retries.planned.get(findings.unit_id) == leg.name:
            retries.compare(findings.unit_id, findings.endings, endings)
        endings |= findings.endings
    leg.outcomes.update(endings.values())


def _invariant(leg: _Leg, planned: int) -> Check:
    total = sum(leg.outcomes[outcome] for outcome in OUTCOMES)
    said = f"{planned} = {' + '.join(str(leg.outcomes[outcome]) for outcome in OUTCOMES)}"
    if total != planned:
        said = f"not so: {said}; the checks above name the units"
    return Check(f"{leg.name}: planned = ok + filtered + merged + failed", total == planned, said)


def _compacted(store: Store, leg: _Leg) -> tuple[int, list[str]]:
    """How many compacted files the leg has, and those that are damaged or older than a unit they hold."""
    try:
        files = compacted.compacted_files(store, leg.name)
    except compacted.CompactionError as error:
        return 0, [str(error)]

    def look(file: compacted.Compacted) -> list[str]:
        try:
            sound = _compacted_is_current(store, file, leg)
        except FileNotFoundError:  # a compaction has just replaced it; a unit that is gone is told of above
            sound = not store.exists(file.path)
        except Exception:  # noqa: BLE001  a damaged file may fail in any way
            sound = False
        return [] if sound else [f"{file.path} is not what the units hold; delete it, it is made again"]

    return len(files), [fault for found in _in_parallel(look, files) for fault in found]


def _compacted_is_current(store: Store, file: compacted.Compacted, leg: _Leg) -> bool:
    ids: dict[str, None] = {}
    rows = 0
    with store.open(file.path) as opened:
        if not compacted.is_sound(file, opened):
            return False
        opened.seek(0)
        parquet = pq.ParquetFile(opened)
        for batch in parquet.iter_batches(columns=["unit_id"]):
            ids |= dict.fromkeys(pc.unique(batch.column("unit_id")).to_pylist())
            rows += batch.num_rows
        stated = compacted.content_hash_of(parquet)
    attempts = attempts_by_unit(units.done_work(store, leg.name, root=leg.root))
    works = [work_id(unit_id, number) for unit_id in ids for number in attempts.get(unit_id, [0])]
    if compacted.made_of(works) != file.made_of:  # a unit was tried again since: the next compaction takes it up
        return rows == file.rows
    made_from = [(work, leg.sha256.get(work) or _sha256_now(store, leg, work)) for work in works]
    return rows == file.rows and stated == compacted.content_sha256(made_from)


def _sha256_now(store: Store, leg: _Leg, unit_id: str) -> str:
    """Of a unit that was committed while the others were looked at."""
    return hashlib.sha256(store.read(units.unit_path(leg.name, unit_id, root=leg.root))).hexdigest()


# -- helpers


def _listed(name: str, faults: Sequence[str], fine: str) -> Check:
    if not faults:
        return Check(name, True, fine)
    shown = "; ".join(faults[:FAULTS_SHOWN])
    more = f"; and {len(faults) - FAULTS_SHOWN} more" if len(faults) > FAULTS_SHOWN else ""
    return Check(name, False, f"{shown}{more}")


def _in_parallel(look: Callable[[Given], Found], items: Sequence[Given]) -> Iterator[Found]:
    with ThreadPoolExecutor(4) as pool:
        for at in range(0, len(items), _AHEAD):
            yield from pool.map(look, items[at : at + _AHEAD])
