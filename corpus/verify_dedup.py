"""Do the columns of a dedup leg contradict themselves? Every dropped clip must name a clip that is kept.

Only groups are held in memory: what is alone, which is nearly all of a corpus, is counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from corpus import units
from corpus.schema import DEDUP
from corpus.store import Store

_COLUMNS = ["clip_id", "outcome", *DEDUP.names]


@dataclass
class DedupFindings:
    """What was found in a dedup leg."""

    faults: list[str] = field(default_factory=list)
    exact: int = 0
    near: int = 0
    heads: set[str] = field(default_factory=set)  # kept copies
    group_of: dict[str, str] = field(default_factory=dict)  # of what is dropped

    def says(self) -> str:
        return f"{len(self.heads)} groups, {self.exact} exact and {self.near} near copies left out"


def look_at_dedup(store: Store, leg: str, unit_ids: Iterable[str], *, complete: bool) -> DedupFindings | None:
    """None when the leg has no dedup columns. `complete`: no unit is still to do, so nothing may be missing."""
    found = DedupFindings()
    for unit_id in unit_ids:
        path = units.columns_path(leg, unit_id)
        try:
            rows = units.read_parquet(store, path)
        except OSError:
            continue  # the check of its unit tells
        if "dup_keep" not in rows.column_names:
            return None
        _look_at_rows(path, rows.select(_COLUMNS), found)
    again = f"delete corpus/columns/{leg} and corpus/compacted/{leg}, and run the leg again"
    for clip_id, head in found.group_of.items():
        if head in found.group_of:
            found.faults.append(f"clip {clip_id} of leg {leg} is a copy of {head}, which is left out itself; {again}")
        elif complete and head not in found.heads:
            found.faults.append(f"clip {clip_id} of leg {leg} is a copy of {head}, which no unit keeps; {again}")
    if complete:
        lonely = found.heads - set(found.group_of.values())
        found.faults += [f"clip {clip_id} of leg {leg} heads a group of its own; {again}" for clip_id in sorted(lonely)]
    return found


def _look_at_rows(path: str, rows: pa.Table, found: DedupFindings) -> None:
    ok = pc.fill_null(pc.equal(rows.column("outcome"), "ok"), False)
    keep, group, kind = (rows.column(name) for name in ("dup_keep", "dup_group", "dup_kind"))
    own = pc.fill_null(pc.equal(group, rows.column("clip_id")), False)
    dropped = pc.fill_null(pc.invert(keep), False)
    kept = pc.fill_null(keep, False)
    rules = {
        "is ok and has no dup_keep": pc.and_(ok, keep.is_null()),
        "is not ok and has a verdict": pc.and_(pc.invert(ok), pc.or_(keep.is_valid(), group.is_valid())),
        "is left out and names no other clip": pc.and_(dropped, pc.or_(group.is_null(), own)),
        "is left out and says not how": pc.and_(dropped, pc.invert(pc.is_in(kind, pa.array(["exact", "near"])))),
        "is kept and names another clip": pc.and_(kept, pc.and_(group.is_valid(), pc.invert(own))),
    }
    for what, broken in rules.items():
        names = rows.column("clip_id").filter(broken).to_pylist()
        found.faults += [f"clip {clip_id} of {path} {what}" for clip_id in names]
    found.exact += pc.sum(pc.equal(kind.filter(dropped), "exact"), min_count=0).as_py()
    found.near += pc.sum(pc.equal(kind.filter(dropped), "near"), min_count=0).as_py()
    found.heads |= set(rows.column("clip_id").filter(pc.and_(kept, own)).to_pylist())
    left_out = rows.filter(pc.and_(dropped, group.is_valid()))
    pairs = zip(left_out.column("clip_id").to_pylist(), left_out.column("dup_group").to_pylist(), strict=True)
    found.group_of |= dict(pairs)
