"""Folders of media, on a disk and behind an fsspec URL."""

from __future__ import annotations

import os
from pathlib import Path

import fsspec
import pytest

from pipeline.config_sources import FolderSource
from pipeline.sources import SourceError, read_sources
from pipeline.sources.folder import read_folder

NAMES = ["b.WAV", "a.ogg", "a.json", "a.vtt", "notes.txt", ".hidden.ogg", "sub/c.mp4", "sub/c.json3", ".git/d.ogg"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in NAMES:
        path = tmp_path / "media" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path / "media"


def read(path: str, recursive: bool = True):
    return list(read_folder(FolderSource(type="folder", path=path, recursive=recursive)))


def test_media_with_their_sidecars_by_name(folder: Path):
    entries = read(str(folder))
    assert [Path(entry.location).relative_to(folder).as_posix() for entry in entries] == ["a.ogg", "b.WAV", "sub/c.mp4"]
    first, second, third = entries
    assert (first.sidecar, first.transcript) == (f"{folder}/a.json", f"{folder}/a.vtt")
    assert (second.sidecar, second.transcript) == (None, None)
    assert third.transcript == f"{folder}/sub/c.json3"
    assert first.source_key == first.location == f"{folder}/a.ogg"


def test_not_into_subfolders(folder: Path):
    assert [Path(entry.location).name for entry in read(str(folder), recursive=False)] == ["a.ogg", "b.WAV"]


def test_a_folder_by_another_name_gives_the_same_keys(folder: Path, tmp_path: Path):
    link = tmp_path / "link"
    link.symlink_to(folder)
    assert [e.source_key for e in read(str(link))] == [e.source_key for e in read(f"file://{folder}/../media")]


def test_behind_an_fsspec_url(folder: Path):
    memory = fsspec.filesystem("memory")
    for name in NAMES:
        memory.pipe_file(f"/sounds-test/{name}", b"x")
    try:
        entries = read("memory://sounds-test")
        assert [entry.location for entry in entries] == [
            "memory:///sounds-test/a.ogg",
            "memory:///sounds-test/b.WAV",
            "memory:///sounds-test/sub/c.mp4",
        ]
        assert entries[0].sidecar == "memory:///sounds-test/a.json"
    finally:
        memory.rm("/sounds-test", recursive=True)


def test_folders_that_cannot_be_used_say_why(tmp_path: Path):
    with pytest.raises(SourceError, match="is not a folder"):
        read(str(tmp_path / "none"))
    with pytest.raises(SourceError, match="lists no source"):
        list(read_sources([FolderSource(type="folder", path=str(tmp_path))]))
    with pytest.raises(SourceError, match="cannot be listed"):
        read("nosuchprotocol://x")


def test_a_file_name_that_is_no_text_is_refused(tmp_path: Path):
    (tmp_path / os.fsdecode(b"bad\xff.ogg")).write_bytes(b"x")
    with pytest.raises(SourceError, match="not UTF-8"):
        read(str(tmp_path))
