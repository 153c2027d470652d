"""A tar of clips whose bytes depend on nothing but its members: no clock, no owner, no order but the given one."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Member:
    """Where a member's bytes lie in the tar (past its header)."""

    name: str
    offset: int
    size: int


def pack(members: Iterable[tuple[str, bytes]]) -> tuple[bytes, list[Member]]:
    """The tar's bytes (ustar, pax for a long name; closed by two zero blocks) and where each member lies."""
    sink = io.BytesIO()
    placed = []
    for name, data in members:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        info.mode = 0o644
        sink.write(info.tobuf(tarfile.PAX_FORMAT))
        placed.append(Member(name, sink.tell(), len(data)))
        sink.write(data)
        sink.write(b"\0" * (-len(data) % tarfile.BLOCKSIZE))
    sink.write(b"\0" * (2 * tarfile.BLOCKSIZE))
    return sink.getvalue(), placed
