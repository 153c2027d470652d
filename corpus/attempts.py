"""Retries: a new attempt of some of a unit's clips, from one leg on, and how readers see each clip's latest attempt.

    plan/retries/<leg>/<part>/<unit>.r<n>.parquet     the planned rows that this leg shall try again
    corpus/units/<part>/<unit>.r<n>.parquet           what became of them (a retry that begins in the root leg)
    corpus/columns/<leg>/<part>/<unit>.r<n>.parquet   ... in a later leg: the one where it begins, and those after it

A retry is a small unit of its own with the id `<unit>.r<n>`. It is planned only for clips whose last attempt has
failed and is committed, so a clip's attempts follow one another: what a leg reads for attempt n (every clip's latest
attempt up to n of the legs before) is settled before n is planned, whoever works it and when.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus import plan_store, units
from corpus.plan_store import UnitInfo
from corpus.store import Store, StoreError
from corpus.work_ids import WORK_ID, attempt_of, in_order, unit_of, work_id

# -- what is planned


def retry_path(leg: str, work: str) -> str:
    if not units.SAFE_NAME.fullmatch(leg):
        raise StoreError(f"not a leg's name: {leg!r}; use letters, digits, _ and -")
    return f"plan/retries/{leg}/{plan_store.part_of(work)}/{work}.parquet"


def plan_retry(store: Store, leg: str, work: str, rows: pa.Table) -> bool:
    """Put a retry in place: rows of the plan, to be worked from `leg` on. False when there is one of this number."""
    return store.put_if_absent(retry_path(leg, work), plan_store.parquet_bytes(plan_store.as_planned(rows)))


def planned_retries(store: Store, legs: Sequence[str], part: str | None = None) -> dict[str, str]:
    """Work id -> the leg of `legs` (root leg first) where it begins; of one part of the plan, if it is named."""
    found: dict[str, str] = {}
    for leg in legs:
        for path in store.list(f"plan/retries/{leg}" + (f"/{part}" if part else "")):
            name = PurePosixPath(path).stem
            if path.endswith(".parquet") and WORK_ID.fullmatch(name):
                found.setdefault(name, leg)
    return dict(sorted(found.items(), key=lambda item: in_order(item[0])))


def read_planned(store: Store, work: str, legs: Sequence[str]) -> pa.Table:
    """The planned rows of a unit, or of a retry that begins in one of `legs`. KeyError when no such work is planned."""
    if not attempt_of(work):
        return plan_store.read_unit(store, work)
    for leg in legs:
        try:
            with store.open(retry_path(leg, work)) as file:
                return plan_store.as_planned(pq.ParquetFile(file).read())
        except FileNotFoundError:
            continue
    raise KeyError(f"retry {work} is not in the plan of {store.root}")


def retry_info(store: Store, leg: str, work: str) -> UnitInfo:
    """A planned retry, as the driver needs it."""
    rows = read_planned(store, work, [leg])
    audio_ms = pc.sum(pc.subtract(rows.column("end_ms"), rows.column("start_ms"))).as_py() or 0
    return UnitInfo(work, plan_store.part_of(work), rows.num_rows, audio_ms)


def pending_retries(
    store: Store, legs: Sequence[str], part: str | None = None, done: set[str] | None = None
) -> dict[str, str]:
    """Planned retries that the last of `legs` (a leg and those before it, root leg first) has not committed."""
    planned = planned_retries(store, legs, part)
    if not planned:
        return {}
    if done is None:
        done = units.done_work(store, legs[-1], root=len(legs) == 1, part=part)
    return {work: leg for work, leg in planned.items() if work not in done}


# -- what is committed


def attempts_by_unit(done: Iterable[str]) -> dict[str, list[int]]:
    """Unit -> numbers of its committed attempts in order, 0 among them; of units that are committed themselves."""
    found: dict[str, list[int]] = {}
    for work in sorted((work for work in done if WORK_ID.fullmatch(work)), key=in_order):
        attempt = attempt_of(work)
        if attempt == 0:
            found[work] = [0]
        elif unit_of(work) in found:
            found[unit_of(work)].append(attempt)
    return found


def attempts_of(store: Store, leg: str, unit_id: str, *, root: bool) -> list[int]:
    """Numbers of a unit's committed attempts in a leg; empty when the unit itself is not committed."""
    done = units.done_work(store, leg, root=root, part=plan_store.part_of(unit_id))
    return attempts_by_unit(work for work in done if unit_of(work) == unit_id).get(unit_id, [])


def read_latest(
    store: Store,
    leg: str,
    unit_id: str,
    *,
    root: bool,
    attempts: Sequence[int] | None = None,
    columns: list[str] | None = None,
) -> pa.Table:
    """A committed unit in planned order, each clip as its latest attempt left it; of `attempts` only, if given."""
    if attempts is None:
        attempts = attempts_of(store, leg, unit_id, root=root) or [0]

    def read(attempt: int) -> pa.Table:
        path = units.unit_path(leg, work_id(unit_id, attempt), root=root)
        asked = None if columns is None else list(dict.fromkeys([*columns, "clip_id"]))
        return units.read_parquet(store, path, columns=asked)

    latest = overlaid([read(attempt) for attempt in attempts])
    return latest if columns is None else latest.select([name for name in columns if name in latest.column_names])


def overlaid(tables: Sequence[pa.Table]) -> pa.Table:
    """The rows of the first table (a unit), each replaced by the last of `tables` that has its clip."""
    if len(tables) == 1:
        return tables[0]
    plain = [table.replace_schema_metadata(None) for table in tables]
    whole = pa.concat_tables(plain, promote_options="default")
    last = {clip_id: at for at, clip_id in enumerate(whole.column("clip_id").to_pylist())}
    places = [last[clip_id] for clip_id in tables[0].column("clip_id").to_pylist()]
    return whole.take(places).replace_schema_metadata(tables[0].schema.metadata)


def clips_of(store: Store, retries: dict[str, str]) -> Iterator[tuple[str, pa.Array]]:
    """(work id, ids of its clips) of planned retries, as `planned_retries` names them."""
    for work, leg in retries.items():
        with store.open(retry_path(leg, work)) as file:
            yield work, pq.ParquetFile(file).read(columns=["clip_id"]).column("clip_id").combine_chunks()
