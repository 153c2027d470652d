"""Commit a unit, read it back. The presence of a unit's Parquet is its done mark: it is put in place last.

    root leg    corpus/audio/<part>/<unit>-<12 hex>.tar   then   corpus/units/<part>/<unit>.parquet
    other legs  corpus/columns/<leg>/<part>/<unit>.parquet

A retry of some of a unit's clips is committed in the same way beside it, as `<unit>.r<attempt>`; readers who want each
clip's latest attempt go through corpus/attempts.py. A commit refuses rows that are not exactly one planned unit. Who
loses a race leaves at most an orphan tar.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.plan_store import UNIT_ID, parquet_bytes, part_of
from corpus.schema import AUDIO, OUTCOME, OUTCOMES, PLAN, PLAN_ONLY, TRANSIENT
from corpus.store import Store, StoreError
from corpus.tar import pack
from corpus.work_ids import unit_of, work_id

#: Members nearer than this are read in one go.
READ_GAP_BYTES = 256 * 1024

#: What may become the name of a tar member: one path part, no dot (webdataset splits keys at the first dot).
SAFE_NAME = re.compile(r"[A-Za-z0-9_-]{1,200}")

#: Reasons for which clips are filtered and their audio is kept all the same.
KeepAudio = Collection[str] | Literal["all"]

#: Columns that must stay as planned.
_KEYS = ("clip_id", "unit_id", "row")


class NotThePlannedUnit(Exception):
    """The rows to commit are not exactly the planned ones, or an outcome is missing or unknown."""


@dataclass(frozen=True)
class UnitMeta:
    """What a unit's Parquet says of its making, as schema metadata."""

    leg: str
    recipe_sha256: str
    plan_part_sha256: str

    def as_metadata(self) -> dict[str, str]:
        return {
            "autorecap.leg": self.leg,
            "autorecap.recipe_sha256": self.recipe_sha256,
            "autorecap.plan_part_sha256": self.plan_part_sha256,
        }


@dataclass(frozen=True)
class CommitResult:
    """`committed` False: another worker had committed this unit, or retry of a unit, first. `put`: bytes sent."""

    unit_id: str
    path: str
    committed: bool
    put: int = 0


def root_path(unit_id: str) -> str:
    return f"corpus/units/{part_of(unit_id)}/{unit_id}.parquet"


def columns_path(leg: str, unit_id: str) -> str:
    if not SAFE_NAME.fullmatch(leg):
        raise StoreError(f"not a leg's name: {leg!r}; use letters, digits, _ and -")
    return f"corpus/columns/{leg}/{part_of(unit_id)}/{unit_id}.parquet"


def unit_path(leg: str, unit_id: str, *, root: bool) -> str:
    """A leg's Parquet of a unit."""
    return root_path(unit_id) if root else columns_path(leg, unit_id)


def tar_path(unit_id: str, sha256: str) -> str:
    return f"corpus/audio/{part_of(unit_id)}/{unit_id}-{sha256[:12]}.tar"


# -- writing


def commit_root(
    store: Store,
    plan_unit: pa.Table,
    rows: pa.Table,
    meta: UnitMeta,
    *,
    attempt: int = 0,
    keep_audio: KeepAudio = (),
) -> CommitResult:
    """Commit a unit of the root leg (or a retry of it): its live clips' audio as a tar, then every row.

    `keep_audio`: the audio of clips that were filtered for one of these reasons is kept, too.
    """
    unit_id = work_id(_check_rows(plan_unit, rows), attempt)
    rows = _live_becomes_ok(rows)
    rows, tar = _pack_audio(unit_id, rows, keep_audio)
    path = root_path(unit_id)
    if store.exists(path):
        return CommitResult(unit_id, path, committed=False)
    data = _bytes(_on_disk(rows), meta)
    if tar is None:
        return CommitResult(unit_id, path, store.put_if_absent(path, data), len(data))
    tar_at = rows.column("tar")[_first_valid(rows.column("tar"))].as_py()
    store.put_if_absent(tar_at, tar)
    committed = store.put_if_absent(path, data)
    if committed and not store.exists(tar_at):
        store.put_if_absent(tar_at, tar)  # a `verify --sweep` took it for an orphan just before the unit named it
    return CommitResult(unit_id, path, committed, len(tar) + len(data))


def commit_columns(
    store: Store, leg: str, root_unit: pa.Table, rows: pa.Table, adds: pa.Schema, meta: UnitMeta, *, attempt: int = 0
) -> CommitResult:
    """Commit a later leg's columns for a unit (or a retry): keys, outcome columns and `adds`, for all rows."""
    unit_id = work_id(_check_rows(root_unit, rows), attempt)
    rows = _live_becomes_ok(rows)
    kept = {typed.name: typed for typed in [*OUTCOME, *adds] if typed.name not in (*TRANSIENT.names, *_KEYS)}
    arrays = [rows.column(name) for name in _KEYS]
    for typed in kept.values():
        has = typed.name in rows.column_names
        arrays.append(rows.column(typed.name).cast(typed.type) if has else pa.nulls(rows.num_rows, typed.type))
    on_disk = pa.table(arrays, schema=pa.schema([*(PLAN.field(name) for name in _KEYS), *kept.values()]))
    path = columns_path(leg, unit_id)
    data = _bytes(on_disk, meta)
    return CommitResult(unit_id, path, store.put_if_absent(path, data), len(data))


def _check_rows(planned: pa.Table, rows: pa.Table) -> str:
    """The unit's id, if `rows` are exactly its planned clips in planned order, each with a sound outcome."""
    unit_id = str(planned.column("unit_id")[0].as_py())
    if not UNIT_ID.fullmatch(unit_id):
        raise NotThePlannedUnit(f"not a unit's id: {unit_id!r}")
    missing = [name for name in (*_KEYS, "outcome", "reason") if name not in rows.column_names]
    if missing:
        raise NotThePlannedUnit(f"unit {unit_id}: the rows came without {', '.join(missing)}")
    if rows.num_rows != planned.num_rows:
        raise NotThePlannedUnit(f"unit {unit_id}: {planned.num_rows} clips are planned, {rows.num_rows} came")
    for name in _KEYS:
        if not rows.column(name).combine_chunks().equals(planned.column(name).combine_chunks()):
            raise NotThePlannedUnit(f"unit {unit_id}: column {name} is not as planned")
    unknown = set(rows.column("outcome").to_pylist()) - {None, *OUTCOMES}
    if unknown:
        raise NotThePlannedUnit(f"unit {unit_id}: no such outcome: {', '.join(sorted(unknown))}")
    lost = pc.and_kleene(pc.is_valid(rows.column("outcome")), pc.not_equal(rows.column("outcome"), "ok"))
    silent = pc.and_(pc.fill_null(lost, False), pc.is_null(rows.column("reason")))
    if pc.any(silent).as_py():
        raise NotThePlannedUnit(f"unit {unit_id}: a clip was ended without a reason")
    return unit_id


def _live_becomes_ok(rows: pa.Table) -> pa.Table:
    at = rows.schema.get_field_index("outcome")
    return rows.set_column(at, OUTCOME.field("outcome"), pc.fill_null(rows.column("outcome"), "ok"))


def _pack_audio(unit_id: str, rows: pa.Table, also: KeepAudio) -> tuple[pa.Table, bytes | None]:
    """The audio of clips that are ok, or were filtered for a reason of `also`, as a tar; the rows with its columns."""
    ended = zip(rows.column("outcome").to_pylist(), rows.column("reason").to_pylist(), strict=True)
    keep = [
        outcome == "ok" or (outcome == "filtered" and (also == "all" or reason in also)) for outcome, reason in ended
    ]
    audio = rows.column("audio") if "audio" in rows.column_names else [None] * rows.num_rows
    members: list[tuple[str, bytes] | None] = []
    for clip_id, ok, data, codec in zip(
        rows.column("clip_id").to_pylist(), keep, audio, _values(rows, "codec"), strict=True
    ):
        content = data.as_py() if ok and data is not None else None
        members.append(None if content is None else (f"{_safe(clip_id)}.{_safe(codec or 'flac')}", content))
    present = [member for member in members if member is not None]
    if not present:
        return rows, None
    tar, placed = pack(present)
    sha256 = hashlib.sha256(tar).hexdigest()
    spots = iter(placed)
    where = [next(spots) if member is not None else None for member in members]
    columns = {
        "tar": [tar_path(unit_id, sha256) if spot else None for spot in where],
        "tar_member": [spot.name if spot else None for spot in where],
        "tar_offset": [spot.offset if spot else None for spot in where],
        "tar_size": [spot.size if spot else None for spot in where],
    }
    for name, values in columns.items():
        typed = AUDIO.field(name)
        at = rows.schema.get_field_index(name)
        array = pa.array(values, type=typed.type)
        rows = rows.set_column(at, typed, array) if at >= 0 else rows.append_column(typed, array)
    return rows, tar


def _values(rows: pa.Table, name: str) -> list[str | None]:
    return rows.column(name).to_pylist() if name in rows.column_names else [None] * rows.num_rows


def _safe(name: str) -> str:
    if not SAFE_NAME.fullmatch(name):
        raise NotThePlannedUnit(f"not a clip id or codec that can name a file: {name!r}")
    return name


def _first_valid(column: pa.ChunkedArray) -> int:
    return int(pc.index(pc.is_valid(column), True).as_py())


def _on_disk(rows: pa.Table) -> pa.Table:
    """The columns that are kept, in the schema's order; what a user's stages added stands last."""
    known = [*(f for f in PLAN if f.name not in PLAN_ONLY.names), *OUTCOME, *AUDIO]
    left_out = {*PLAN_ONLY.names, *TRANSIENT.names}
    arrays, typed = [], []
    for field in known:
        typed.append(field)
        has = field.name in rows.column_names
        arrays.append(rows.column(field.name).cast(field.type) if has else pa.nulls(rows.num_rows, field.type))
    for field in rows.schema:
        if field.name not in left_out and field.name not in {f.name for f in known}:
            typed.append(field)
            arrays.append(rows.column(field.name))
    return pa.table(arrays, schema=pa.schema(typed))


def _bytes(rows: pa.Table, meta: UnitMeta) -> bytes:
    return parquet_bytes(rows.replace_schema_metadata(meta.as_metadata()).combine_chunks())


# -- reading


def done_units(store: Store, leg: str, *, root: bool, part: str | None = None) -> set[str]:
    """The units that a leg has committed, retries left out; of one part of the plan, if it is named."""
    return {name for name in done_work(store, leg, root=root, part=part) if unit_of(name) == name}


def done_work(store: Store, leg: str, *, root: bool, part: str | None = None) -> set[str]:
    """The units, and retries of units, that a leg has committed."""
    prefix = "corpus/units" if root else f"corpus/columns/{leg}"
    if part is not None:
        prefix = f"{prefix}/{part}"
    return {path[path.rfind("/") + 1 : -len(".parquet")] for path in store.list(prefix) if path.endswith(".parquet")}


def read_root_unit(store: Store, unit_id: str) -> pa.Table:
    """Every row of a committed unit, as the root leg left it."""
    return read_parquet(store, root_path(unit_id))


def read_columns_unit(store: Store, leg: str, unit_id: str) -> pa.Table:
    """What a later leg added to a unit: keys, outcomes, columns."""
    return read_parquet(store, columns_path(leg, unit_id))


def read_meta(store: Store, path: str) -> dict[str, str]:
    """The `autorecap.*` metadata of a unit's Parquet."""
    with store.open(path) as file:
        metadata = pq.ParquetFile(file).schema_arrow.metadata or {}
    return {key.decode(): value.decode() for key, value in metadata.items() if key.startswith(b"autorecap.")}


def read_parquet(store: Store, path: str, columns: list[str] | None = None) -> pa.Table:
    """A unit's Parquet, or some columns of it. FileNotFoundError when it is not there, OSError when it is damaged."""
    with store.open(path) as file:
        return _parquet(path, file, columns)


def table_of(path: str, data: bytes) -> pa.Table:
    """The rows of a unit's Parquet whose bytes are at hand; `path` is for the error's text."""
    return _parquet(path, pa.BufferReader(data), None)


def _parquet(path: str, source: Any, columns: list[str] | None) -> pa.Table:
    try:
        return pq.ParquetFile(source).read(columns=columns)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise OSError(
            f"{path} cannot be read ({error}); autorecap verify says what is damaged and what to do"
        ) from error


def read_audio(store: Store, tar: str, offset: int, size: int) -> bytes:
    """One clip's encoded audio."""
    return store.read_range(tar, offset, size)


def read_audios(store: Store, rows: pa.Table) -> list[bytes | None]:
    """Each row's encoded audio, or None where it has none or the tar is gone or cut short.

    Members that lie together are one read. A store that cannot be reached is an error, not a clip without audio.
    """
    places = rows.select(["tar", "tar_offset", "tar_size"]).to_pylist()
    found: list[bytes | None] = [None] * len(places)
    for tar, indices in _by_tar(places):
        for run in _runs_of_neighbours(places, indices):
            start = places[run[0]]["tar_offset"]
            end = max(places[at]["tar_offset"] + places[at]["tar_size"] for at in run)
            try:
                data = store.read_range(tar, start, end - start)
            except FileNotFoundError:
                continue
            for at in run:
                begin = places[at]["tar_offset"] - start
                piece = data[begin : begin + places[at]["tar_size"]]
                found[at] = piece if len(piece) == places[at]["tar_size"] else None
    return found


def _by_tar(places: list[dict[str, object]]) -> Iterable[tuple[str, list[int]]]:
    groups: dict[str, list[int]] = {}
    for at, place in enumerate(places):
        if place["tar"] is not None and place["tar_offset"] is not None:
            groups.setdefault(str(place["tar"]), []).append(at)
    return groups.items()


def _runs_of_neighbours(places: list[dict[str, object]], indices: list[int]) -> Iterable[list[int]]:
    def start(at: int) -> int:
        return int(str(places[at]["tar_offset"]))

    runs: list[list[int]] = []
    for at in sorted(indices, key=start):
        last = runs[-1][-1] if runs else None
        if last is not None and start(at) - start(last) - int(str(places[last]["tar_size"])) <= READ_GAP_BYTES:
            runs[-1].append(at)
        else:
            runs.append([at])
    return runs
