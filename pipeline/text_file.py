"""A result as a file: whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO


def write_text(path: Path, text: str) -> None:
    """UTF-8, in place of what may be there."""
    from corpus.store import Store
    from corpus.streamed import write_whole

    def fill(file: BinaryIO) -> None:
        file.write(text.encode())

    path = path.resolve()
    write_whole(Store(path.parent), path.name, fill)
