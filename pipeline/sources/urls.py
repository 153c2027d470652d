"""Lists of URLs and YouTube ids: a text file, a table, or entries in the recipe itself.

| file | what is read |
|---|---|
| `.txt`, others | one id or URL a line; `#` starts a comment line; also `.txt.gz` and `.txt.zst` |
| `.csv`, `.jsonl`, `.parquet` | a column `url` or `id` (url first); others below |

Columns title, description, video_caption, license and uploader fill the clip's columns of that name;
`source_key` names the source where its URL does not (two rows of one key are one source); the rest goes to
`source_meta`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pipeline.config_sources import UrlListSource
from pipeline.sources.entry import SourceEntry, SourceError, canonical
from pipeline.sources.lines import read_lines
from pipeline.sources.tables import Row, reader_of, told
from stages.page_texts import clean

NAMED = ("title", "description", "video_caption", "license", "uploader")


def read_urls(source: UrlListSource) -> Iterator[SourceEntry]:
    """The entries of the recipe's `items`, then those of its file."""
    for item in source.items:
        if item.strip():
            yield entry_of({"url": item})
    if source.path is not None:
        yield from _read_file(source.path)


def _read_file(path: str) -> Iterator[SourceEntry]:
    reader = reader_of(path) or _read_text
    with told(path):
        for row in reader(path):
            if location_of(row, path):
                yield entry_of(row)


def location_of(row: Mapping[str, Any], path: str) -> str:
    """The row's URL or id, "" where it has none. SourceError for a table without such columns."""
    if "url" not in row and "id" not in row:
        raise SourceError(f"sources: {path} has no column `url` or `id`; it has {', '.join(map(str, row)) or 'none'}")
    return _written(row.get("url")) or _written(row.get("id"))


def _written(value: Any) -> str:
    return "" if value is None else clean(str(value)).strip()


def entry_of(row: Mapping[str, Any], leave_out: Collection[str] = ()) -> SourceEntry:
    """A row as an entry; columns that it has no place for go to `meta`, but for those to leave out."""
    key, url = canonical(_written(row.get("url")) or _written(row.get("id")))
    given_key = _written(row.get("source_key"))
    rest = {
        str(name): value
        for name, value in row.items()
        if name not in {*NAMED, "url", "source_key", *leave_out} and value not in (None, "")
    }
    if rest.get("id") == key:
        del rest["id"]
    return SourceEntry(
        source_key=given_key or key,
        kind="url",
        location=url,
        title=_text(row, "title"),
        description=_text(row, "description"),
        video_caption=_text(row, "video_caption"),
        license=_text(row, "license"),
        uploader=_text(row, "uploader"),
        meta=clean(json.dumps(rest, sort_keys=True, ensure_ascii=False, default=str)) if rest else None,
    )


def _text(row: Mapping[str, Any], name: str) -> str | None:
    return _written(row.get(name)) or None


def _read_text(path: str) -> Iterator[Row]:
    for number, line in read_lines(path):
        if line is None:
            raise ValueError(f"line {number} is too long")
        text = line.decode("utf-8").strip()
        if text and not text.startswith("#"):
            yield {"url": text}
