"""Are planned retries what they must be: rows of the plan, of clips that had failed?"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow.compute as pc

from corpus import attempts, plan_store
from corpus.store import Store
from corpus.work_ids import unit_of

#: A join whose first clip failed is tried again with its other members: each comes back as a clip of its own.
_TRIED_AGAIN = ("failed", "merged")


@dataclass
class Retries:
    """The planned retries that a leg takes up, and what is wrong with those that begin in it."""

    planned: dict[str, str]  # work id -> the leg where it begins; of units that are in the plan
    faults: list[str] = field(default_factory=list)

    def of(self, leg: str) -> list[str]:
        return [work for work, begins_in in self.planned.items() if begins_in == leg]

    def compare(self, work: str, endings: Mapping[str, str], before: Mapping[str, str]) -> None:
        """Hold a committed retry against what its clips' earlier attempts had come to."""
        sound = [clip_id for clip_id in endings if before.get(clip_id, "failed") not in _TRIED_AGAIN]
        if sound:
            path = attempts.retry_path(self.planned[work], work)
            self.faults.append(f"{path} tries clip {sound[0]} again, which had not failed; delete it and its commits")


def look_at_retries(store: Store, legs: Sequence[str], units: Collection[str]) -> Retries:
    """The retries that begin in one of `legs`; those of the last are compared with the plan's `units`."""
    planned = attempts.planned_retries(store, legs)
    found = Retries({work: leg for work, leg in planned.items() if unit_of(work) in units})
    for work, leg in planned.items():
        if leg == legs[-1]:
            path = attempts.retry_path(leg, work)
            if work not in found.planned:
                found.faults.append(f"{path} is of no planned unit; move it away")
            elif fault := _fault_of(store, path, work):
                found.faults.append(fault)
    return found


def _fault_of(store: Store, path: str, work: str) -> str | None:
    try:
        rows = plan_store.whole_table(store.read(path))
        planned = plan_store.read_unit(store, unit_of(work))
        again = planned.filter(pc.is_in(planned.column("clip_id"), value_set=rows.column("clip_id").combine_chunks()))
    except Exception as error:  # noqa: BLE001  a damaged file may fail in any way
        return f"{path} cannot be read ({error}); delete it, and retry again"
    if rows.num_rows == 0 or not rows.equals(again):
        return f"{path} does not hold rows of the plan; delete it and what was committed of it, and retry again"
    return None
