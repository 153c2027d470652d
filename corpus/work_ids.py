"""What a leg is given to do: a unit (`00000-00003`), or a retry of some of its clips (`00000-00003.r1`).

Both name files, so both are checked wherever they come from. The number of a retry is the `attempt` that its clips'
rows carry; it counts the retries of its unit, whichever leg they begin in.
"""

from __future__ import annotations

import re

#: `<part>-<number>`, five digits or more each, and for a retry `.r<attempt>`.
WORK_ID = re.compile(r"([0-9]{5,9})-[0-9]{5,9}(?:\.r([1-9][0-9]{0,3}))?")

#: As many as the four digits hold.
MAX_ATTEMPT = 9999


def work_id(unit_id: str, attempt: int) -> str:
    """The unit itself is attempt 0."""
    return f"{unit_id}.r{attempt}" if attempt else unit_id


def unit_of(work: str) -> str:
    return work.partition(".")[0]


def attempt_of(work: str) -> int:
    """0 for a unit; ValueError for what is no work id."""
    found = WORK_ID.fullmatch(work)
    if not found:
        raise ValueError(f"not a unit's id, nor one of a retry: {work!r}")
    return int(found[2] or 0)


def in_order(work: str) -> tuple[str, int]:
    """A key to sort by: a unit, then its retries by number."""
    return unit_of(work), attempt_of(work)
