"""A file of which only some blocks are here: fetched by HTTP ranges, opened by decoders as if it were whole.

    <folder>/<name>.bin     as long as the file at its site; only the blocks that are here take room
    <folder>/<name>.json    which blocks those are, each with its CRC, and what the site said of the file

    store = PartialStore(folder / "media.json")
    store.begin(Told(size_bytes=57_600_000, etag='"v1"'))
    store.put(0, data)                                  # from that block on
    with AudioSource(PartialMedia(store)) as source:    # MissingBytes for what is not here: never zeros

The list of blocks is replaced as one file after their bytes were written, and a block counts only if its bytes still
have their CRC: a process that is killed leaves blocks, or does not. Nothing is taken for sound that was not fetched.
"""

from __future__ import annotations

import io
import json
import os
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

#: Blocks of a file; the last one may be shorter.
BLOCK_BYTES = 65_536
#: A list of another form is begun anew.
FORM = 1


class MissingBytes(Exception):
    """Bytes are wanted that are not here."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a site said of a file: by these it is known whether two answers were of the same one."""

    size_bytes: int
    etag: str | None = None
    last_modified: str | None = None


class PartialStore:
    """The blocks, on disk. For one writer at a time (stages/cache.py holds a lock)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._bytes = path.with_suffix(".bin")
        self.told: Told | None = None
        self._crcs: dict[int, int] = {}
        try:
            self._load(json.loads(path.read_bytes()))
        except (OSError, ValueError, KeyError, TypeError):
            self.told, self._crcs = None, {}

    def _load(self, listed: dict[str, object]) -> None:
        if listed["form"] == FORM and isinstance(blocks := listed["blocks"], dict):
            self._crcs = {int(block): int(crc) for block, crc in blocks.items()}
            self.told = Told(**listed["told"])  # type: ignore[arg-type]

    @property
    def size_bytes(self) -> int:
        """Of the whole file."""
        return self.told.size_bytes if self.told else 0

    @property
    def blocks(self) -> int:
        """Of the whole file."""
        return -(-self.size_bytes // BLOCK_BYTES)

    @property
    def held_bytes(self) -> int:
        return min(len(self._crcs) * BLOCK_BYTES, self.size_bytes)

    def has(self, block: int) -> bool:
        return block in self._crcs

    def begin(self, told: Told) -> None:
        """Hold no block of a file that is such."""
        self.drop()
        self.told = told
        with self._bytes.open("wb") as file:
            file.truncate(told.size_bytes)

    def put(self, block: int, data: bytes) -> None:
        """Hold `data`: whole blocks from `block` on, or up to the file's end."""
        with self._bytes.open("r+b") as file:
            file.seek(block * BLOCK_BYTES)
            file.write(data)
        for at in range(0, len(data), BLOCK_BYTES):
            self._crcs[block + at // BLOCK_BYTES] = zlib.crc32(data[at : at + BLOCK_BYTES])
        assert self.told is not None
        listed = {"form": FORM, "told": asdict(self.told), "blocks": {str(b): c for b, c in self._crcs.items()}}
        new = self.path.with_suffix(".tmp")
        new.write_text(json.dumps(listed))
        new.replace(self.path)

    def get(self, block: int) -> bytes | None:
        """The block, if it is here and sound. A damaged one is forgotten."""
        if block not in self._crcs:
            return None
        try:
            with self._bytes.open("rb") as file:
                data = os.pread(file.fileno(), BLOCK_BYTES, block * BLOCK_BYTES)
        except OSError:
            data = b""
        if zlib.crc32(data) == self._crcs[block]:
            return data
        del self._crcs[block]
        return None

    def drop(self) -> None:
        """Nothing is here any more."""
        self.path.unlink(missing_ok=True)
        self._bytes.unlink(missing_ok=True)
        self.told, self._crcs = None, {}


class PartialMedia:
    """What decoders open. `fetch(block)` is asked to put a block that is not here; without it that is MissingBytes.

    A container's reader may take an error for the end of the file. So the first one is kept: look at `fault` after
    every span, before what came of it is believed.
    """

    def __init__(self, store: PartialStore, fetch: Callable[[int], None] | None = None) -> None:
        self.store = store
        self.fault: Exception | None = None
        self._fetch = fetch

    def reopen(self) -> IO[bytes]:
        return io.BufferedReader(_View(self), BLOCK_BYTES)

    def block(self, at: int) -> bytes:
        """The block's bytes; raises what `fault` then holds."""
        if self.fault is not None:
            raise self.fault
        data = self.store.get(at)
        try:
            if data is None and self._fetch is not None:
                self._fetch(at)
                data = self.store.get(at)
            if data is None:
                raise MissingBytes(f"block {at} of {self.store.blocks} is not here")
        except Exception as error:
            self.fault = error
            raise
        return data

    def check(self) -> None:
        """Raise the fault, if there was one."""
        if self.fault is not None:
            raise self.fault


class _View(io.RawIOBase):
    """One reading position in the media."""

    def __init__(self, media: PartialMedia) -> None:
        super().__init__()
        self._media = media
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        from_ = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._media.store.size_bytes}[whence]
        self._at = max(from_ + offset, 0)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Up to the end of one block; 0 only at the end of the file."""
        if self._at >= self._media.store.size_bytes:
            return 0
        block, skip = divmod(self._at, BLOCK_BYTES)
        piece = self._media.block(block)[skip : skip + len(buffer)]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)
