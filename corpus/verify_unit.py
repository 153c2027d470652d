"""Look at one committed unit or retry: its Parquet against the plan, its tar against its hash and the Parquet's rows.

Nothing here raises for damage: each fault becomes a sentence that says what, where, and what to do.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from corpus import attempts, plan_store, units
from corpus.schema import OUTCOMES
from corpus.store import Store
from corpus.work_ids import attempt_of, unit_of, work_id

#: What a user does about a unit that is damaged. A compacted file may hold what is damaged, too.
_MAKE_AGAIN = "delete {what} and corpus/compacted, and run again"

_AUDIO_COLUMNS = (
    "clip_id",
    "outcome",
    "tar",
    "tar_member",
    "tar_offset",
    "tar_size",
    "sha256",
    "num_samples",
    "pcm_sha256",
)

_Row = Mapping[str, Any]


@dataclass
class UnitFindings:
    """What was found in a unit, or a retry. `readable`: its Parquet is whole, so the tars it names are all it has."""

    unit_id: str
    readable: bool = False
    sha256: str | None = None  # of the Parquet; None when it is not there any more
    faults: list[str] = field(default_factory=list)
    tar_faults: list[str] = field(default_factory=list)
    tars: set[str] = field(default_factory=set)
    clips_with_audio: int = 0
    endings: dict[str, str] = field(default_factory=dict)  # clip id -> outcome


def look_at_unit(
    store: Store, legs: Sequence[str], unit_id: str, plan_part_sha256: str, *, decode: bool
) -> UnitFindings:
    """Everything about a unit, or a retry, of the last of `legs`; the tar too if it is the only one, the root leg.

    `legs`: those in which a retry of this leg may begin.
    """
    leg, root = legs[-1], len(legs) == 1
    found = UnitFindings(unit_id)
    path = units.unit_path(leg, unit_id, root=root)
    try:
        data = store.read(path)
        found.sha256 = hashlib.sha256(data).hexdigest()
        rows = plan_store.whole_table(data)
        _look_at_rows(store, legs, path, rows, plan_part_sha256, found)
        audio = rows.select([name for name in _AUDIO_COLUMNS if name in rows.schema.names]).to_pylist() if root else []
    except Exception as error:  # noqa: BLE001  a damaged file may fail in any way, and each must be told
        found.faults.append(f"{path} cannot be read ({error}); {_again(path)}")
        return found
    found.readable = True
    if root:
        _look_at_audio(store, audio, found, decode=decode)
    return found


def _again(what: str) -> str:
    return _MAKE_AGAIN.format(what=what)


# -- rows


def _look_at_rows(
    store: Store, legs: Sequence[str], path: str, rows: pa.Table, plan_part_sha256: str, found: UnitFindings
) -> None:
    said = rows.schema.metadata or {}
    if said.get(b"autorecap.leg") != legs[-1].encode():
        found.faults.append(f"{path} says that it belongs to another leg; {_again(path)}")
    if said.get(b"autorecap.plan_part_sha256") != plan_part_sha256.encode():
        part = plan_store.part_of(found.unit_id)
        found.faults.append(f"{path} was made from another plan; put plan/units/{part}.parquet back from a copy")
    planned = attempts.read_planned(store, found.unit_id, legs)
    if rows.num_rows != planned.num_rows:
        found.faults.append(f"{path} has {rows.num_rows} rows, {planned.num_rows} are planned; {_again(path)}")
    elif any(
        rows.column(name).to_pylist() != planned.column(name).to_pylist() for name in ("clip_id", "unit_id", "row")
    ):
        found.faults.append(f"{path} does not hold the planned clips in planned order; {_again(path)}")
    elif len(legs) > 1:
        _compare_with_root(store, legs[0], path, rows, found)
    number = attempt_of(found.unit_id)
    if number and set(rows.column("attempt").to_pylist()) != {number}:
        found.faults.append(f"{path} has rows of another attempt than {number}; {_again(path)}")
    outcomes = [str(outcome) for outcome in rows.column("outcome").to_pylist()]
    found.endings = dict(zip(rows.column("clip_id").to_pylist(), outcomes, strict=True))
    if unknown := set(outcomes) - set(OUTCOMES):
        found.faults.append(f"{path} has rows whose outcome is {', '.join(sorted(unknown))}; {_again(path)}")
    reasons = zip(rows.column("outcome").to_pylist(), rows.column("reason").to_pylist(), strict=True)
    if any(outcome != "ok" and not reason for outcome, reason in reasons):
        found.faults.append(f"{path} has rows that ended without a reason; {_again(path)}")


def _compare_with_root(store: Store, root_leg: str, path: str, rows: pa.Table, found: UnitFindings) -> None:
    """A clip that the root leg ended stays ended, in the same way. A root unit that is not there is another check's.

    What a row is held against is the clip's latest attempt in the root leg up to the row's own.
    """
    unit_id = unit_of(found.unit_id)
    before: dict[str, str] = {}
    if not store.exists(units.root_path(unit_id)):
        return
    tried = rows.column("attempt").to_pylist()
    known = attempts.attempts_of(store, root_leg, unit_id, root=True) if any(tried) else [0]
    own = dict(zip(rows.column("clip_id").to_pylist(), tried, strict=True))
    for attempt in known:
        root = units.read_parquet(store, units.root_path(work_id(unit_id, attempt)), columns=["clip_id", "outcome"])
        for clip_id, outcome in zip(
            root.column("clip_id").to_pylist(), root.column("outcome").to_pylist(), strict=True
        ):
            if attempt <= (own.get(clip_id) or 0):
                before[clip_id] = outcome
    after = zip(rows.column("clip_id").to_pylist(), rows.column("outcome").to_pylist(), strict=True)
    if any(before[clip_id] not in ("ok", outcome) for clip_id, outcome in after if clip_id in before):
        root_path = units.root_path(unit_id)
        found.faults.append(f"{path} gives another outcome to a clip that {root_path} had ended; {_again(path)}")


# -- audio


def _look_at_audio(store: Store, rows: Sequence[_Row], found: UnitFindings, *, decode: bool) -> None:
    found.tars = {row["tar"] for row in rows if row["tar"]}
    found.clips_with_audio = sum(row["tar"] is not None for row in rows)
    where = units.root_path(found.unit_id)
    for row in rows:
        if row["outcome"] == "ok" and not row["tar"]:
            found.tar_faults.append(f"clip {row['clip_id']} of {where} is ok but has no audio")
    for tar in sorted(found.tars):
        members = [row for row in rows if row["tar"] == tar]
        try:
            found.tar_faults += _look_at_tar(store, tar, members, _again(f"{tar} and {where}"), decode=decode)
        except Exception as error:  # noqa: BLE001  a damaged file may fail in any way
            found.tar_faults.append(f"{tar} cannot be read ({error}); {_again(f'{tar} and {where}')}")


def _look_at_tar(store: Store, path: str, rows: Sequence[_Row], remedy: str, *, decode: bool) -> list[str]:
    if not store.exists(path):
        return [f"{path} is missing; put it back from a copy, or {remedy}"]
    data = store.read(path)
    stated = path.rsplit("-", 1)[-1].removesuffix(".tar")
    if not hashlib.sha256(data).hexdigest().startswith(stated):
        return [f"{path} does not match its hash; {remedy}"]
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        places = {member.name: (member.offset_data, member.size) for member in tar.getmembers()}
    faults = []
    if set(places) != {row["tar_member"] for row in rows}:
        faults.append(f"{path} holds other members than its rows name; {remedy}")
    for row in rows:
        if fault := _fault_of_member(data, row, places, decode=decode):
            faults.append(f"{path}: {row['tar_member']} {fault}; {remedy}")
    return faults


def _fault_of_member(data: bytes, row: _Row, places: Mapping[str, tuple[int, int]], *, decode: bool) -> str | None:
    name, offset, size = row["tar_member"], row["tar_offset"], row["tar_size"]
    if places.get(name) != (offset, size):
        return "does not lie where its row says"
    member = data[offset : offset + size]
    if row["sha256"] is not None and hashlib.sha256(member).hexdigest() != row["sha256"]:
        return "does not match its sha256"
    if decode and name.endswith((".flac", ".wav")):
        return _fault_of_sound(member, row["num_samples"], row.get("pcm_sha256"))
    return None


def _fault_of_sound(member: bytes, num_samples: int | None, pcm_sha256: str | None) -> str | None:
    import soundfile

    try:
        samples, _ = soundfile.read(io.BytesIO(member), dtype="int16", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        return f"does not decode: {error}"
    if len(samples) != num_samples:
        return f"decodes to {len(samples)} samples, its row says {num_samples}"
    if pcm_sha256 is not None and hashlib.sha256(samples.astype("<i2").tobytes()).hexdigest() != pcm_sha256:
        return "decodes to other samples than its pcm_sha256 says"
    return None
