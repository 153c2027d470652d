"""Lists of URLs and YouTube ids: a text file, a table, or entries in the recipe itself.

| file | what is read |
|---|---|
| `.txt`, others | one id or URL a line; `#` starts a comment line |
| `.csv`, `.jsonl`, `.parquet` | a column `url` or `id` (url first); others below |

Columns title, description, video_caption, license and uploader fill the clip's columns of that name;
`source_key` names the source where its URL does not (two rows of one key are one source); the rest goes to
`source_meta`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.config import UrlListSource
from pipeline.sources.entry import SourceEntry, SourceError, canonical, clean

NAMED = ("title", "description", "video_caption", "license", "uploader")
CSV_CHUNK_ROWS = 50_000


def read_urls(source: UrlListSource) -> Iterator[SourceEntry]:
    """The entries of the recipe's `items`, then those of its file."""
    for item in source.items:
        if item.strip():
            yield _entry({"url": item})
    if source.path is not None:
        yield from _read_file(source.path)


def _read_file(path: str) -> Iterator[SourceEntry]:
    reader = _READERS.get(Path(path).suffix.lower(), _read_text)
    try:
        for row in reader(path):
            if _location(row, path):
                yield _entry(row)
    except FileNotFoundError as error:
        raise SourceError(f"sources: {path} is not there") from error
    except (OSError, ValueError) as error:  # pyarrow and pandas parse errors are ValueErrors
        raise SourceError(f"sources: {path} cannot be read: {' '.join(str(error).split())}") from error


def _location(row: Mapping[str, Any], path: str) -> str:
    if "url" not in row and "id" not in row:
        raise SourceError(f"sources: {path} has no column `url` or `id`; it has {', '.join(map(str, row)) or 'none'}")
    return _written(row.get("url")) or _written(row.get("id"))


def _written(value: Any) -> str:
    return "" if value is None else clean(str(value)).strip()


def _entry(row: Mapping[str, Any]) -> SourceEntry:
    key, url = canonical(_written(row.get("url")) or _written(row.get("id")))
    given_key = _written(row.get("source_key"))
    rest = {
        str(name): value
        for name, value in row.items()
        if name not in {*NAMED, "url", "source_key"} and value not in (None, "")
    }
    if rest.get("id") == key:
        del rest["id"]
    return SourceEntry(
        source_key=given_key or key,
        kind="url",
        location=url,
        **{name: _written(row.get(name)) or None for name in NAMED},
        meta=clean(json.dumps(rest, sort_keys=True, ensure_ascii=False, default=str)) if rest else None,
    )


def _read_text(path: str) -> Iterator[dict[str, Any]]:
    with Path(path).open(encoding="utf-8-sig") as lines:
        for line in lines:
            text = line.strip()
            if text and not text.startswith("#"):
                yield {"url": text}


def _read_csv(path: str) -> Iterator[dict[str, Any]]:
    import pandas as pd

    try:
        chunks = pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True, chunksize=CSV_CHUNK_ROWS)
        for chunk in chunks:
            for row in chunk.to_dict("records"):
                yield {str(name): value for name, value in row.items()}
    except pd.errors.EmptyDataError:
        return


def _read_jsonl(path: str) -> Iterator[dict[str, Any]]:
    with Path(path).open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            row = json.loads(line)
            if isinstance(row, str):
                row = {"url": row}
            if not isinstance(row, dict):
                raise ValueError(f"line {number} is neither an object nor a string")
            yield row


def _read_parquet(path: str) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches():
            yield from batch.to_pylist()


_READERS: dict[str, Callable[[str], Iterator[dict[str, Any]]]] = {
    ".csv": _read_csv,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".parquet": _read_parquet,
}
