"""How often a unit has been begun on this node and not ended: what has killed its worker often enough is given up.

Ray counts tries, too, but it counts those of units that only waited beside the one that killed the worker, and of an
actor that left because it had grown too large. So Ray is given tries to spare, and a unit's own are counted here, in
a small file for each unit in hand, which is gone when the unit has been worked.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.watchdog import crumbs

#: Tries that Ray has to spare, for units that lose their worker without doing.
SPARE = 2

#: What earlier starts of a run have left is removed after so long.
FORGOTTEN_S = 86_400.0


class Tries:
    """Of one wave (`wave` is its name, new each time) and one group of stages, `limit` for each unit."""

    def __init__(self, run_root: str, wave: str, group: int, limit: int) -> None:
        self._folder = crumbs(run_root) / f"tries-{wave}"
        self._group, self._limit = group, limit
        _forget_old(self._folder.parent)

    @contextmanager
    def begun(self, unit_id: str) -> Iterator[bool]:
        """Whether the unit may be begun. That it has been is forgotten when the block ends alive."""
        path = self._folder / f"{unit_id}.{self._group}"
        # Each time: after a long pause another start of the run, or a sweeper of /tmp, may have taken it for left over.
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with path.open("ab") as file:
            file.write(b".")
            may = file.tell() <= self._limit
        yield may
        if may:
            path.unlink(missing_ok=True)


def last_begun_s(run_root: str, unit_id: str) -> float:
    """When a unit that was not ended was begun on this node for the last time, as a clock time; 0: never."""
    begun = [*crumbs(run_root).glob(f"tries-*/{unit_id}.[0-9]*"), *crumbs(run_root).glob(f"tries-*/{unit_id}.-1")]
    return max((path.stat().st_mtime for path in begun), default=0.0)


def _forget_old(folder: Path) -> None:
    for old in folder.glob("tries-*"):
        try:
            if time.time() - old.stat().st_mtime > FORGOTTEN_S:
                shutil.rmtree(old, ignore_errors=True)
        except OSError:  # another worker was faster
            continue
