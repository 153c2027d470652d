"""Verify a corpus: every unit against its plan, every tar against its hash and its rows, every count.

    report = verify_corpus(store, ["fetch", "models"], decode=True)

With `sweep`, what killed writers left behind (temporary files, tars that no unit names) is deleted; without, it is
counted. It is never an error: no reader looks at it.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from corpus import plan_store, units
from corpus.report import Check, Report
from corpus.schema import OUTCOMES
from corpus.store import Store

Found = TypeVar("Found")

#: A report names so many faults of one kind; the rest are counted.
FAULTS_SHOWN = 5


def verify_corpus(store: Store, legs: Sequence[str], *, decode: bool = False, sweep: bool = False) -> Report:
    """Check a run folder whose legs (root leg first) have committed what they have. See the module's text."""
    planned = {info.unit_id: info for info in plan_store.iter_units(store)}
    checks = [_plan_check(store, planned)]
    named_tars: set[str] = set()
    for at, leg in enumerate(legs):
        root = at == 0
        done = sorted(units.done_units(store, leg, root=root))
        strangers = [unit_id for unit_id in done if unit_id not in planned]
        checks.append(_listed(f"{leg}: units are planned ones", strangers, f"{len(done)} of {len(planned)} committed"))
        known = [unit_id for unit_id in done if unit_id in planned]
        faults, counts = _units_of(store, leg, known, root=root)
        checks.append(_listed(f"{leg}: rows are the planned rows, each with an outcome", faults, _sums(counts)))
        checks.append(_invariant(leg, counts, sum(planned[unit_id].rows for unit_id in known)))
        if root:
            tar_faults, named_tars, clips = _tars_of(store, known, decode=decode)
            said = f"{len(named_tars)} tars, {clips} clips{' decoded' if decode else ''}"
            checks.append(_listed("audio: tars match their hash, members their rows", tar_faults, said))
    checks.append(_leftovers(store, named_tars, sweep=sweep))
    return Report(checks)


def _plan_check(store: Store, planned: dict[str, plan_store.UnitInfo]) -> Check:
    sources = plan_store.read_sources(store)
    clips = sum(sources.column("clips").to_pylist())
    rows = sum(info.rows for info in planned.values())
    ok = clips == rows
    detail = f"{sources.num_rows} sources, {rows} clips in {len(planned)} units"
    return Check("plan: sources and clips agree", ok, detail if ok else f"{detail}, but the sources name {clips} clips")


def _listed(name: str, faults: Sequence[str], fine: str) -> Check:
    if not faults:
        return Check(name, True, fine)
    shown = "; ".join(faults[:FAULTS_SHOWN])
    more = f"; and {len(faults) - FAULTS_SHOWN} more" if len(faults) > FAULTS_SHOWN else ""
    return Check(name, False, f"{shown}{more}")


def _sums(counts: Counter[str]) -> str:
    return ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES)


def _invariant(leg: str, counts: Counter[str], planned: int) -> Check:
    total = sum(counts[outcome] for outcome in OUTCOMES)
    said = f"{planned} = {' + '.join(str(counts[outcome]) for outcome in OUTCOMES)}"
    return Check(f"{leg}: planned = ok + filtered + merged + failed", total == planned, said)


def _units_of(store: Store, leg: str, unit_ids: Sequence[str], *, root: bool) -> tuple[list[str], Counter[str]]:
    faults: list[str] = []
    counts: Counter[str] = Counter()

    def look(unit_id: str) -> tuple[list[str], Counter[str]]:
        return _unit(store, leg, unit_id, root=root)

    for found, outcomes in _in_parallel(look, unit_ids):
        faults += found
        counts.update(outcomes)
    return faults, counts


def _unit(store: Store, leg: str, unit_id: str, *, root: bool) -> tuple[list[str], Counter[str]]:
    path = units.root_path(unit_id) if root else units.columns_path(leg, unit_id)
    try:
        with store.open(path) as file:
            rows = pq.ParquetFile(file).read(columns=["clip_id", "unit_id", "row", "outcome", "reason"])
    except (OSError, pa.ArrowInvalid, KeyError) as error:
        return [f"{path} cannot be read ({error}); delete it and run again"], Counter()
    planned = plan_store.read_unit(store, unit_id)
    faults = []
    if rows.num_rows != planned.num_rows:
        faults.append(f"{path} has {rows.num_rows} rows, {planned.num_rows} are planned")
    elif any(
        rows.column(name).to_pylist() != planned.column(name).to_pylist() for name in ("clip_id", "unit_id", "row")
    ):
        faults.append(f"{path} does not hold the planned clips in planned order")
    outcomes = Counter(str(outcome) for outcome in rows.column("outcome").to_pylist())
    if unknown := set(outcomes) - set(OUTCOMES):
        faults.append(f"{path} has rows whose outcome is {', '.join(sorted(unknown))}")
    return faults, outcomes


def _tars_of(store: Store, unit_ids: Sequence[str], *, decode: bool) -> tuple[list[str], set[str], int]:
    faults: list[str] = []
    named: set[str] = set()
    clips = 0

    def look(unit_id: str) -> tuple[list[str], set[str], int]:
        return _tars_of_unit(store, unit_id, decode=decode)

    for found, tars, count in _in_parallel(look, unit_ids):
        faults += found
        named |= tars
        clips += count
    return faults, named, clips


def _tars_of_unit(store: Store, unit_id: str, *, decode: bool) -> tuple[list[str], set[str], int]:
    names = ["clip_id", "outcome", "tar", "tar_member", "tar_offset", "tar_size", "sha256", "num_samples"]
    try:
        with store.open(units.root_path(unit_id)) as file:
            rows = pq.ParquetFile(file).read(columns=names).to_pylist()
    except (OSError, pa.ArrowInvalid, KeyError):
        return [], set(), 0  # said already by the check of rows
    tars = {row["tar"] for row in rows if row["tar"]}
    silent = [row["clip_id"] for row in rows if row["outcome"] == "ok" and not row["tar"]]
    faults = [f"clip {clip_id} is ok but has no audio" for clip_id in silent]
    for tar in sorted(tars):
        members = [row for row in rows if row["tar"] == tar]
        faults += _tar(store, tar, members, decode=decode)
    return faults, tars, len(rows) - sum(row["tar"] is None for row in rows)


def _tar(store: Store, path: str, rows: Sequence[dict[str, object]], *, decode: bool) -> list[str]:
    try:
        data = store.read(path)
    except OSError:
        return [f"{path} is missing; delete its unit's Parquet and run again"]
    stated = path.rsplit("-", 1)[-1].removesuffix(".tar")
    if not hashlib.sha256(data).hexdigest().startswith(stated):
        return [f"{path} does not match its hash; delete it and its unit's Parquet, and run again"]
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        places = {member.name: (member.offset_data, member.size) for member in tar.getmembers()}
    faults = []
    if set(places) != {row["tar_member"] for row in rows}:
        faults.append(f"{path} holds other members than its rows name")
    for row in rows:
        faults += _member(path, data, row, places, decode=decode)
    return faults


def _member(
    path: str, data: bytes, row: dict[str, object], places: dict[str, tuple[int, int]], *, decode: bool
) -> list[str]:
    name = str(row["tar_member"])
    offset, size = row["tar_offset"], row["tar_size"]
    if places.get(name) != (offset, size):
        return [f"{path}: {name} does not lie where its row says"]
    assert isinstance(offset, int)
    assert isinstance(size, int)
    member = data[offset : offset + size]
    if row["sha256"] is not None and hashlib.sha256(member).hexdigest() != row["sha256"]:
        return [f"{path}: {name} does not match its sha256"]
    if decode and name.endswith((".flac", ".wav")):
        return _decodes(path, name, member, row["num_samples"])
    return []


def _decodes(path: str, name: str, member: bytes, num_samples: object) -> list[str]:
    import soundfile

    try:
        samples, _ = soundfile.read(io.BytesIO(member), dtype="int16", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        return [f"{path}: {name} does not decode: {error}"]
    if len(samples) != num_samples:
        return [f"{path}: {name} decodes to {len(samples)} samples, its row says {num_samples}"]
    return []


def _leftovers(store: Store, named_tars: set[str], *, sweep: bool) -> Check:
    orphans = [path for path in store.list("corpus/audio") if path not in named_tars]
    temporary = store.list("", temporary=True)
    if sweep:
        for path in [*orphans, *temporary]:
            store.delete(path)
    what = f"{len(orphans)} orphan tars, {len(temporary)} temporary files"
    done = " deleted" if sweep else "; --sweep deletes them when no run is working" if orphans or temporary else ""
    return Check("leftovers of killed writers", True, what + done)


def _in_parallel(look: Callable[[str], Found], unit_ids: Sequence[str]) -> Iterable[Found]:
    with ThreadPoolExecutor(4) as pool:
        yield from pool.map(look, unit_ids)
