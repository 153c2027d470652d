"""Caption data sets as they are handed out: a table of captions, and the folder of their recordings.

| `style` | table | file | captions | times |
|---|---|---|---|---|
| `clotho` | `clotho_captions_*.csv` | `file_name` | `caption_1` to `caption_5` | the whole file |
| `wavcaps` | `*.json` (`{"data": [...]}`) | `id` | `caption` | the whole file |
| `audiocaps` | `train.csv`, `test.csv` | `youtube_id` | `caption` | see below |

AudioCaps with a folder (`<youtube_id>.wav` or `Y<youtube_id>.wav`): the whole file. Without one: `clip_s` seconds (10)
of the YouTube video from `start_time` on.

A clip has one caption: the first column's, of the first row that names it. The others go to `source_meta` as
`captions`. A row's file is looked for below the folder by its path, then by its name, then by its name without an
ending (WavCaps hands out `<id>.flac` for ids that end in `.wav`); nothing outside the folder is ever opened. Rows
without a file, or whose name two files have, are left out and counted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from pipeline.config_sources import CaptionTableSource
from pipeline.sources.entry import SourceEntry, SourceError, canonical
from pipeline.sources.folder import files_of, is_media, key_of
from pipeline.sources.given import Settler, as_given, caption_of, number
from pipeline.sources.lines import open_bytes
from pipeline.sources.report import ListReport
from pipeline.sources.tables import Row, read_rows
from stages.page_texts import clean

#: Our columns, and what the styles' tables call them.
TEXTS = {
    "title": ("title",),
    "description": ("description",),
    "uploader": ("author", "uploader"),
    "license": ("license",),
    "url": ("href", "url"),
}


@dataclass(frozen=True)
class Style:
    """The columns of a data set's table."""

    model: str
    file: str
    captions: tuple[str, ...]
    start_s: str | None = None
    prefixes: tuple[str, ...] = ("",)  # of a file's name before what the column says


STYLES = {
    "clotho": Style("Clotho@published", "file_name", tuple(f"caption_{n}" for n in range(1, 6))),
    "wavcaps": Style("WavCaps@published", "id", ("caption",)),
    "audiocaps": Style("AudioCaps@published", "youtube_id", ("caption",), "start_time", ("", "Y")),
}


def read_captions(source: CaptionTableSource, settle: Settler, report: ListReport) -> Iterator[SourceEntry]:
    """The recordings, each once, with their captions. Such tables fit into memory: WavCaps has 400 k rows."""
    report.left_out = settle.left_out
    style = _style(source)
    found = _Found(source, style, settle, report)
    for row in _rows(source.path):
        report.lines += 1
        _refuse_other_columns(row, source, style)
        found.add(row)
    yield from found.entries()


def _style(source: CaptionTableSource) -> Style:
    known, own = STYLES[source.style], source.columns
    return Style(
        source.caption_model or known.model,
        own.file or known.file,
        tuple(own.captions or known.captions),
        own.start_s or known.start_s,
        known.prefixes,
    )


def _rows(path: str) -> Iterator[Row]:
    """A table, or WavCaps' JSON."""
    if PurePosixPath(path).suffix.lower() != ".json":
        yield from read_rows(path)
        return
    with open_bytes(path) as file:
        tree = json.load(file)
    rows = tree.get("data") if isinstance(tree, dict) else tree
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("it is not WavCaps' JSON: an object with a list of objects as `data`")
    yield from rows


def _refuse_other_columns(row: Row, source: CaptionTableSource, style: Style) -> None:
    wanted = [style.file, style.captions[0], *([style.start_s] if source.folder is None and style.start_s else [])]
    if lacking := [name for name in wanted if name not in row]:
        raise SourceError(
            f"sources: {source.path} has no column {', '.join(lacking)}; it has {', '.join(map(str, row))}. "
            "Name its columns under `columns`"
        )


@dataclass
class _Recording:
    """A source, and its clips by start (None: the whole file): the captions of each, in the order of the rows."""

    entry: dict[str, Any]
    captions: dict[float | None, list[str]] = field(default_factory=dict)


class _Found:
    """Recordings by key, in the order of the table."""

    def __init__(self, source: CaptionTableSource, style: Style, settle: Settler, report: ListReport) -> None:
        self._source, self._style, self._settle, self._report = source, style, settle, report
        self._files = _Files(source) if source.folder is not None else None
        self._recordings: dict[str, _Recording] = {}

    def add(self, row: Row) -> None:
        said = str(row[self._style.file] or "").strip()
        captions = [text for name in self._style.captions if (text := caption_of(row.get(name)))]
        start_s: float | None = None
        if not said or not captions:
            self._report.leave_out("no_file_name" if not said else "no_caption", f"row {self._report.lines} {said}")
            return
        if self._files is not None:
            file, reason = self._files.find(said, self._style.prefixes)
            if file is None:
                self._report.leave_out(reason, said)
                return
            key, where = key_of(file, self._files.top, self._source.name), {"kind": "file", "location": file}
        else:
            key, url = canonical(clean(said))
            where = {"kind": "url", "location": url}
            start_s = number(row[self._style.start_s]) if self._style.start_s else 0.0
            if start_s is None:
                self._settle.left_out["bad_time"] += 1
                return
        texts = {name: _first(row, names) for name, names in TEXTS.items()}
        recording = self._recordings.setdefault(key, _Recording({"source_key": key, **where, **texts}))
        recording.captions.setdefault(start_s, []).extend(captions)

    def entries(self) -> Iterator[SourceEntry]:
        for recording in self._recordings.values():
            clips: list[dict[str, Any]] = []
            for start_s, captions in recording.captions.items():
                if start_s is None:
                    clips.append({"start_ms": 0, "end_ms": None, "caption": captions[0], "clap_score": None})
                else:
                    end_s = start_s + self._source.clip_s
                    clips += as_given(self._settle([(start_s, end_s, captions[0], None)]))
            if not clips:
                self._report.empty_sources += 1
                continue
            self._report.sources += 1
            self._report.clips += len(clips)
            others = [text for captions in recording.captions.values() for text in captions[1:]]
            yield SourceEntry(
                **recording.entry,
                clips=sorted(clips, key=lambda clip: int(clip["start_ms"])),
                caption_model=self._style.model,
                over_clip_max=self._source.over_clip_max,
                meta=json.dumps({"captions": others}, ensure_ascii=False) if others else None,
            )


class _Files:
    """The folder's media, found by what a table calls them."""

    def __init__(self, source: CaptionTableSource) -> None:
        assert source.folder is not None
        self.top, names = files_of(source.folder, recursive=True)
        media = [name for name in names if is_media(name)]
        if not media:
            raise SourceError(f"sources: {source.folder} holds no media files")
        self._by_path = {name[len(self.top) :].lstrip("/"): name for name in media}
        self._names = Counter(PurePosixPath(name).name for name in media)
        self._stems = Counter(PurePosixPath(name).stem for name in media)
        self._by_name = {PurePosixPath(name).name: name for name in media}
        self._by_stem = {PurePosixPath(name).stem: name for name in media}

    def find(self, said: str, prefixes: tuple[str, ...]) -> tuple[str | None, str]:
        """(the file, "") or (None, why): `no_file`, `two_files`."""
        if said in self._by_path:
            return self._by_path[said], ""
        for prefix in prefixes:
            for wanted, found, count in (
                (prefix + said, self._by_name, self._names),
                (prefix + said, self._by_stem, self._stems),
                (PurePosixPath(prefix + said).stem, self._by_stem, self._stems),
            ):
                if count[wanted] > 1:
                    return None, "two_files"
                if wanted in found:
                    return found[wanted], ""
        return None, "no_file"


def _first(row: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    for name in names:
        if isinstance(row.get(name), str) and row[name].strip():
            return clean(row[name])
    return None
