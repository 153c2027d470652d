"""How much memory a process holds, and how much there is for it: from the kernel's files, in bytes."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

#: Where a container is told its limit (control groups, version 2 and 1).
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def own_bytes(pid: int | str = "self") -> int:
    """Resident memory that is this process's alone: what it shares, such as Ray's object store, is left out."""
    try:
        words = Path(f"/proc/{pid}/statm").read_text().split()
    except OSError:
        return 0
    return (int(words[1]) - int(words[2])) * os.sysconf("SC_PAGE_SIZE")


@lru_cache(maxsize=1)
def machine_bytes() -> int:
    """The memory of this machine, or of the container if that has less."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in LIMITS:
        try:
            said = path.read_text().strip()
        except OSError:
            continue
        if said.isdigit():
            there = min(there, int(said))
    return there
