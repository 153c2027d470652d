"""A disk or store that takes nothing more: full, over its quota, read-only, not ours to write.

It concerns the whole run, never a clip: a leg stops at the first of these with one sentence, nothing half written is
left, and the same command goes on when there is room.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_GO_ON = "and run the same command again; what is committed stays"

#: What the operating system says of a disk that takes nothing more, and what to do about it.
_FULL = {
    errno.ENOSPC: f"no space left at {{path}}: free some {_GO_ON}",
    errno.EDQUOT: f"the quota for {{path}} is used up: free space or have it raised {_GO_ON}",
    errno.EFBIG: f"a file at {{path}} would pass the limit on file sizes (ulimit -f): raise it {_GO_ON}",
    errno.EROFS: f"{{path}} lies on a file system that is read-only: mount it writable {_GO_ON}",
}

#: These mean the same only of a file that we write; of a source they are the source's.
_NOT_OURS = dict.fromkeys(
    (errno.EACCES, errno.EPERM), f"{{path}} may not be written by this user: give it the right {_GO_ON}"
)


class StorageFault(OSError):
    """Where nothing can be written, and what to do; `errno` is the system's."""

    def __init__(self, number: int, path: str) -> None:
        super().__init__(number, ({**_FULL, **_NOT_OURS})[number].format(path=path))
        self.path = path

    def __str__(self) -> str:
        return str(self.strerror)

    def __reduce__(self) -> tuple[Any, ...]:
        return StorageFault, (self.errno, self.path)


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Only writes are in here: what the system refuses at `path` becomes a StorageFault."""
    try:
        yield
    except StorageFault:
        raise
    except OSError as error:
        number = _number(error)
        if number in _FULL or number in _NOT_OURS:
            raise StorageFault(number, str(path)) from error
        raise


def storage_fault(error: BaseException, path: str | Path = "a disk of this machine") -> StorageFault | None:
    """The StorageFault that an exception is or was caused by, if that is so; `path` for one that names none."""
    for link in _chain(error):
        if isinstance(link, StorageFault):
            return link
        if isinstance(link, OSError) and (number := _number(link)) in _FULL:
            return StorageFault(number, str(link.filename or path))
    return None


def _number(error: OSError) -> int:
    """Libraries keep the system's number in their text only: Arrow says "errno 28", yt-dlp "[Errno 28]"."""
    if error.errno is not None:
        return error.errno
    said = re.search(r"errno (\d{1,3})\b", str(error), re.IGNORECASE)
    return int(said.group(1)) if said else 0


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what led to it."""
    queue, seen = [error], set[int]()
    while queue and len(seen) < 50:
        link = queue.pop(0)
        if id(link) not in seen:
            seen.add(id(link))
            yield link
            queue += [item for item in (link.__cause__, link.__context__) if item is not None]
