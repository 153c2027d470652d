"""Folders of media: local, or behind an fsspec URL.

A media file is known by its extension. Beside `rain.ogg` may lie `rain.json` (title, description,
video_caption, license, uploader, url; anything else is kept as `source_meta`) and a transcript `rain.vtt`,
`rain.srt` or `rain.json3`. They are only named here; the plan reads them. Names that begin with a dot are
passed over.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from pipeline.config import FolderSource
from pipeline.sources.entry import SourceEntry, SourceError, clean

AUDIO_SUFFIXES = (
    *(".aac", ".ac3", ".aif", ".aiff", ".amr", ".au", ".caf", ".flac", ".m4a", ".mka"),
    *(".mp2", ".mp3", ".oga", ".ogg", ".opus", ".wav", ".weba", ".wma", ".wv"),
)
VIDEO_SUFFIXES = (
    *(".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4"),
    *(".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm", ".wmv"),
)
MEDIA_SUFFIXES = frozenset([*AUDIO_SUFFIXES, *VIDEO_SUFFIXES])
TRANSCRIPT_SUFFIXES = (".vtt", ".srt", ".json3")


def read_folder(source: FolderSource) -> Iterator[SourceEntry]:
    """The media files of a folder, by name."""
    path = source.path.removeprefix("file://")
    names = sorted(_remote_files(path, source.recursive) if "://" in path else _local_files(path, source.recursive))
    there = set(names)
    _refuse_undecodable_names(names)
    for name in names:
        if PurePosixPath(name).suffix.lower() in MEDIA_SUFFIXES:
            stem = name[: -len(PurePosixPath(name).suffix)]
            yield SourceEntry(
                source_key=name,
                kind="file",
                location=name,
                sidecar=_first([stem + ".json"], there),
                transcript=_first([stem + suffix for suffix in TRANSCRIPT_SUFFIXES], there),
            )


def _refuse_undecodable_names(names: list[str]) -> None:
    for name in names:
        if name != clean(name):
            raise SourceError(f"sources: the file name {name!r} is not UTF-8: rename it")


def _first(candidates: Iterable[str], there: set[str]) -> str | None:
    return next((name for name in candidates if name in there), None)


def _local_files(path: str, recursive: bool) -> Iterator[str]:
    """Absolute paths; links in the folder's own path are followed, so that it gives the same ones however named."""
    top = Path(path).resolve()
    if not top.is_dir():
        raise SourceError(f"sources: {path} is not a folder")
    for folder, folders, files in os.walk(top):
        folders[:] = [name for name in folders if recursive and not name.startswith(".")]
        for name in files:
            if not name.startswith("."):
                yield str(Path(folder, name))


def _remote_files(url: str, recursive: bool) -> Iterator[str]:
    import fsspec

    try:
        filesystem, path = fsspec.core.url_to_fs(url)
        names = filesystem.find(path, maxdepth=None if recursive else 1)
    except (OSError, ValueError, ImportError) as error:
        raise SourceError(f"sources: {url} cannot be listed: {' '.join(str(error).split())}") from error
    for name in names:
        below = str(name).removeprefix(str(path)).strip("/")
        if not any(part.startswith(".") for part in below.split("/")):
            yield str(filesystem.unstrip_protocol(name))
