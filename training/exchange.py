"""Two folders that change places in one go: nobody, and no kill, ever meets a name without its folder."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

#: Of Linux's renameat2, which the standard library does not have: "paths as they are", "swap the two".
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


def exchange(one: Path, other: Path) -> bool:
    """False, and nothing done, where system or disk has no such thing (macOS, NFS)."""
    swap = getattr(ctypes.CDLL(None), "renameat2", None)
    paths = os.fsencode(one), os.fsencode(other)
    return swap is not None and swap(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE) == 0
