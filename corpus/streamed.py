"""Put a file in place whole while it is made piece by piece, with its size and SHA-256 known at the end.

Store.put_if_absent and Store.replace take a finished file; views and shards are made as a stream, and are too
large to be held in memory or written twice.
"""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from corpus.storage_faults import writing
from corpus.store import TEMPORARY, Store


@dataclass(frozen=True)
class Placed:
    """A file that is in place."""

    size: int
    sha256: str


def write_whole(
    store: Store, path: str, write: Callable[[BinaryIO], None], *, named: Callable[[Placed], str] | None = None
) -> Placed:
    """Let `write` fill a temporary file, then put it in place, over what may be there.

    On a disk the temporary file lies beside the target (nothing is written elsewhere) and is renamed. A file that is
    `named` by what is in it goes to that path, in the same folder as `path`.
    """
    target = store.local(path)
    with _scratch(target) as scratch:
        with _opened(scratch) as file:
            hashing = _Hashing(file, scratch.parent)
            write(cast(BinaryIO, hashing))
            with writing(scratch.parent):
                file.flush()
                os.fsync(file.fileno())
        placed = Placed(hashing.size, hashing.sha256.hexdigest())
        path = named(placed) if named else path
        target = store.local(path)
        if target is None:
            store.replace(path, scratch)
        else:
            scratch.replace(target)
    return placed


@contextmanager
def _scratch(target: Path | None) -> Iterator[Path]:
    name = f"{TEMPORARY}{secrets.token_hex(8)}"
    if target is None:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder, name)
        return
    with writing(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.parent / name
    try:
        yield scratch
    finally:
        scratch.unlink(missing_ok=True)


@contextmanager
def _opened(scratch: Path) -> Iterator[BinaryIO]:
    with writing(scratch.parent):
        file = scratch.open("xb")
    try:
        yield file
    finally:
        with suppress(OSError):  # what could not be written was told by the write or the flush
            file.close()


class _Hashing(io.RawIOBase):
    """Passes writes on and keeps count and SHA-256 of what went by. A disk that takes no more is a StorageFault."""

    def __init__(self, file: BinaryIO, folder: Path) -> None:
        self._file = file
        self._folder = folder
        self.sha256 = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.sha256.update(data)
        size = len(memoryview(data).cast("B"))
        self.size += size
        with writing(self._folder):
            self._file.write(data)
        return size

    def tell(self) -> int:
        return self.size
