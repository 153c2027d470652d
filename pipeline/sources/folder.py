"""Folders of media: local, or behind an fsspec URL.

A media file is known by its extension. Beside `rain.ogg` may lie `rain.json` (title, description,
video_caption, license, uploader, url; anything else is kept as `source_meta`) and a transcript `rain.vtt`,
`rain.srt` or `rain.json3`. They are only named here; the plan reads them. Names that begin with a dot are
passed over.

A source is known by its full path, so that its clips get other ids when the folder moves; with a `name` in the recipe
it is known as `<name>/<path below the folder>`, wherever that lies.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from pipeline.config_sources import FolderSource
from pipeline.sources.entry import SourceEntry, SourceError
from stages.page_texts import clean

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
    top, names = files_of(source.path, recursive=source.recursive)
    there = set(names)
    for name in names:
        if is_media(name):
            stem = name[: -len(PurePosixPath(name).suffix)]
            yield SourceEntry(
                source_key=key_of(name, top, source.name),
                kind="file",
                location=name,
                sidecar=_first([stem + ".json"], there),
                transcript=_first([stem + suffix for suffix in TRANSCRIPT_SUFFIXES], there),
            )


def is_media(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in MEDIA_SUFFIXES


def key_of(file: str, top: str, name: str | None) -> str:
    """What names a file's source for ever."""
    return file if name is None else f"{name}/{file[len(top) :].lstrip('/')}"


def files_of(path: str, *, recursive: bool) -> tuple[str, list[str]]:
    """(the folder, its files sorted): absolute paths or fsspec URLs. SourceError where they cannot be listed."""
    path = path.removeprefix("file://")
    top, found = _remote_files(path, recursive) if "://" in path else _local_files(path, recursive)
    names = sorted(found)
    for name in names:
        if name != clean(name):
            raise SourceError(f"sources: the file name {name!r} is not UTF-8: rename it")
    return top, names


def _first(candidates: Iterable[str], there: set[str]) -> str | None:
    return next((name for name in candidates if name in there), None)


def _local_files(path: str, recursive: bool) -> tuple[str, Iterable[str]]:
    """Absolute paths; links in the folder's own path are followed, so that it gives the same ones however named."""
    top = Path(path).resolve()
    if not top.is_dir():
        raise SourceError(f"sources: {path} is not a folder")
    return str(top), _walk(top, recursive)


def _walk(top: Path, recursive: bool) -> Iterator[str]:
    for folder, folders, files in os.walk(top):
        folders[:] = [name for name in folders if recursive and not name.startswith(".")]
        for name in files:
            if not name.startswith("."):
                yield str(Path(folder, name))


def _remote_files(url: str, recursive: bool) -> tuple[str, Iterable[str]]:
    import fsspec

    try:
        filesystem, path = fsspec.core.url_to_fs(url)
        names = filesystem.find(path, maxdepth=None if recursive else 1)
    except (OSError, ValueError, ImportError) as error:
        raise SourceError(f"sources: {url} cannot be listed: {' '.join(str(error).split())}") from error
    shown = [
        str(filesystem.unstrip_protocol(name))
        for name in names
        if not any(part.startswith(".") for part in str(name).removeprefix(str(path)).strip("/").split("/"))
    ]
    return str(filesystem.unstrip_protocol(path)).rstrip("/"), shown
