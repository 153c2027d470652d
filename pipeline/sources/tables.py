"""Rows of a table that people keep: csv, jsonl (or ndjson) or parquet, local or behind an fsspec URL, in pieces."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.sources.entry import SourceError
from pipeline.sources.lines import CODECS, open_bytes, read_lines

Row = dict[str, Any]

CSV_CHUNK_ROWS = 50_000
PARQUET_BATCH_ROWS = 16_384


def read_rows(path: str) -> Iterator[Row]:
    """The table's rows. SourceError for a file of another kind; what reading raises is for `told` to tell."""
    reader = reader_of(path)
    if reader is None:
        raise SourceError(f"sources: {path} is no table: its name must end in {', '.join(_READERS)}")
    yield from reader(path)


def reader_of(path: str) -> Callable[[str], Iterator[Row]] | None:
    """Who reads a file of this name; `.gz` and `.zst` are looked behind. None for no table's name."""
    name = Path(path.lower())
    return _READERS.get(Path(name.stem).suffix if name.suffix in CODECS else name.suffix)


@contextmanager
def told(path: str) -> Iterator[None]:
    """What goes wrong while a list is read, as a SourceError that names it."""
    try:
        yield
    except FileNotFoundError as error:
        raise SourceError(f"sources: {path} is not there") from error
    # pyarrow's and pandas' parse errors are ValueErrors; ImportError: an fsspec driver that is not installed
    except (OSError, ValueError, ImportError) as error:
        raise SourceError(f"sources: {path} cannot be read: {' '.join(str(error).split())}") from error


def read_csv(path: str) -> Iterator[Row]:
    import pandas as pd

    try:
        chunks = pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True, chunksize=CSV_CHUNK_ROWS)
        for chunk in chunks:
            for row in chunk.to_dict("records"):
                yield {str(name): value for name, value in row.items()}
    except pd.errors.EmptyDataError:
        return


def read_jsonl(path: str) -> Iterator[Row]:
    """Objects, one a line; a string stands for an object with that `url`."""
    for number, line in read_lines(path):
        if line is None:
            raise ValueError(f"line {number} is too long")
        text = line.decode("utf-8")
        if not text.strip():
            continue
        row = json.loads(text)
        if isinstance(row, str):
            row = {"url": row}
        if not isinstance(row, dict):
            raise ValueError(f"line {number} is neither an object nor a string")
        yield row


def read_parquet(path: str) -> Iterator[Row]:
    import pyarrow.parquet as pq

    with open_bytes(path) as raw, pq.ParquetFile(raw) as file:
        for batch in file.iter_batches(PARQUET_BATCH_ROWS):
            yield from batch.to_pylist()


_READERS: dict[str, Callable[[str], Iterator[Row]]] = {
    ".csv": read_csv,
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".parquet": read_parquet,
}
