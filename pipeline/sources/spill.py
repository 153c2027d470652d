"""Records with keys, grouped by key in bounded memory: what is far apart in a list comes together.

    with Spill() as spill:
        for record in records: spill.add(record[0], record)
        for group in spill.groups(): ...       # the records of one share of the keys, in the order added

Records are JSON lists. They go to one temporary file (in `folder`, or where the system keeps such; it has no name, so
that a killed process leaves nothing), in pieces of one share each; a share is small enough to be held and its pieces
are read back one share at a time. The shares' order follows from the keys alone. See docs/adr/0008.
"""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from pipeline.sources.entry import SourceError

#: Shares of the keys: of the 20 M lines of the whole AutoReCap-XL, one holds 80,000.
SHARES = 256

#: So much of a share waits in memory to be written together.
PIECE_BYTES = 32 << 10


class Spill:
    """A temporary file of records by share."""

    def __init__(self, folder: Path | None = None) -> None:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=folder, prefix=".tmp-spill-")  # noqa: SIM115  closed by __exit__
        # As bytes: small lists that wait by the ten thousand would be looked at by each garbage collection.
        self._waiting = [bytearray() for _ in range(SHARES)]
        self._pieces: list[list[tuple[int, int]]] = [[] for _ in range(SHARES)]
        self._end = 0

    def __enter__(self) -> Spill:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._file.close()

    def add(self, key: str, record: Any) -> None:
        """Keep a record. SourceError when the disk is full."""
        share = zlib.crc32(key.encode()) % SHARES
        waiting = self._waiting[share]
        waiting += orjson.dumps(record)
        waiting += b","
        if len(waiting) >= PIECE_BYTES:
            self._write(share)

    def _write(self, share: int) -> None:
        piece = _together(self._waiting[share])
        try:
            self._file.write(piece)
        except OSError as error:
            raise SourceError(
                f"sources: the list's clips cannot be kept while they are brought together: {error}. This takes as "
                "much room as the list (unpacked): set execution.cache_dir to a folder that has it"
            ) from error
        self._pieces[share].append((self._end, len(piece)))
        self._end += len(piece)
        self._waiting[share].clear()

    def groups(self) -> Iterator[list[Any]]:
        """Share by share, the records in the order they were added."""
        for share in range(SHARES):
            records = []
            for at, size in self._pieces[share]:
                self._file.seek(at)
                records += orjson.loads(self._file.read(size))
            records += orjson.loads(_together(self._waiting[share]))
            if records:
                yield records


def _together(records: bytearray) -> bytes:
    return b"[" + bytes(records[:-1]) + b"]"
