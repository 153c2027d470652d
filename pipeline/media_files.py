"""The files that a verb was given: as named, of folders, by patterns."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path


class FilesError(Exception):
    """Files, captions or metadata that are not there or cannot be read; the message says which."""


def find_files(words: Sequence[str]) -> list[str]:
    """Files as named, the media files of folders (and folders in them), and what patterns match; each once."""
    found: dict[str, None] = {}
    for word in words:
        path = Path(word)
        if path.is_dir():
            some = _media_files(path)
        elif path.exists():
            some = [word]
        else:
            some = sorted(name for name in glob.glob(word, recursive=True) if Path(name).is_file())  # noqa: PTH207
        if not some:
            raise FilesError(f"{word}: {'no media file in this folder' if path.is_dir() else 'there is no such file'}")
        found.update(dict.fromkeys(some))
    return list(found)


def _media_files(folder: Path) -> list[str]:
    from pipeline.sources.folder import MEDIA_SUFFIXES

    inside = (path for path in folder.rglob("*") if path.suffix.lower() in MEDIA_SUFFIXES and path.is_file())
    return sorted(str(path) for path in inside if not path.name.startswith("."))
