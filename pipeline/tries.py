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
    """Of one wave (`wave` is its name, new each time) and one group of stages."""

    def __init__(self, run_root: str, wave: str, group: int) -> None:
        self._folder = crumbs(run_root) / f"tries-{wave}"
        self._group = group
        _forget_old(self._folder.parent)
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    @contextmanager
    def begun(self, unit_id: str) -> Iterator[int]:
        """How many times the unit has been begun, this one counted; forgotten when the block ends alive."""
        path = self._folder / f"{unit_id}.{self._group}"
        with path.open("ab") as file:
            file.write(b".")
            number = file.tell()
        yield number
        path.unlink(missing_ok=True)


def _forget_old(folder: Path) -> None:
    for old in folder.glob("tries-*"):
        try:
            if time.time() - old.stat().st_mtime > FORGOTTEN_S:
                shutil.rmtree(old, ignore_errors=True)
        except OSError:  # another worker was faster
            continue
