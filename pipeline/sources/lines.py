"""Bytes and lines of a list: of a local file or an fsspec URL, plain, .gz or .zst, never whole in memory.

for number, line in read_lines("s3://bucket/list.json.zst"): ...     # numbered from 1, without line ends
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

BLOCK_BYTES = 1 << 20

#: A longer line is no line of a list: it comes as None, and its end is looked for without keeping it.
MAX_LINE_BYTES = 16 << 20

#: Endings of compressed lists.
CODECS = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd"}


@contextmanager
def open_bytes(path: str) -> Iterator[IO[bytes]]:
    """The file's bytes as they are. OSError when it is not there, ValueError or ImportError for an unknown protocol."""
    if "://" not in path:
        with Path(path).open("rb") as file:
            yield file
        return
    import fsspec

    with fsspec.open(path, "rb") as file:
        yield file


@contextmanager
def _decompressed(path: str, file: IO[bytes]) -> Iterator[Any]:
    codec = CODECS.get(Path(path).suffix.lower())
    if codec is None:
        yield file
        return
    import pyarrow as pa

    with pa.CompressedInputStream(pa.PythonFile(file, "r"), codec) as stream:
        yield stream


def read_lines(path: str, max_bytes: int = MAX_LINE_BYTES) -> Iterator[tuple[int, bytes | None]]:
    """(number, line) of every line; None for one longer than `max_bytes`. OSError, also for a damaged archive."""
    with open_bytes(path) as file, _decompressed(path, file) as stream:
        number, rest, too_long = 0, b"\xef\xbb\xbf", False
        while block := stream.read(BLOCK_BYTES):
            if number == 0 and rest == b"\xef\xbb\xbf":  # a byte order mark is no part of the first line
                rest, block = b"", block.removeprefix(rest)
            lines = (rest + block).split(b"\n")
            rest = lines.pop()
            for line in lines:
                number += 1
                yield number, None if too_long or len(line) > max_bytes else line
                too_long = False
            if len(rest) > max_bytes:
                rest, too_long = b"", True
        if number == 0 and rest == b"\xef\xbb\xbf":
            return
        if rest or too_long:
            yield number + 1, None if too_long else rest
