"""Prompts out of a file: lines, a CSV or JSON lines, with ids or without.

    asked = read_prompts(Path("test.csv"))      # [Asked("-hmGHOQhM6U", "a dog barks and a car passes"), ...]

    rain on a roof                      .txt: one a line
    clip7|rain on a roof                .txt, if every line has a bar: id and prompt, as the reference's lists
    id,caption                          .csv, .tsv: a column prompt, caption or text; id (or clip_id, name, file) if any
    {"id": "clip7", "prompt": "rain"}   .jsonl: the same names; or a string a line

Empty lines are passed over.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generation.errors import GenerationError

TEXTS = ("prompt", "caption", "text")
IDS = ("id", "clip_id", "name", "file_name", "file", "audiocap_id")
KINDS = (".txt", ".csv", ".tsv", ".jsonl")


@dataclass(frozen=True)
class Asked:
    """One prompt of a list; `id` is "" where the list has none."""

    id: str
    text: str


def cleaned(text: str) -> str:
    """Without blanks around it, and without halves of characters, which no file or tokenizer takes."""
    return text.encode("utf-8", "replace").decode().strip()


def read_prompts(path: Path) -> list[Asked]:
    """GenerationError with the line for whatever cannot be read."""
    if path.suffix.lower() not in KINDS:
        raise GenerationError(f"{path}: prompts come as {', '.join(KINDS)}")
    try:
        # Not splitlines(), which also ends lines at characters that may stand in a text (U+2028, form feeds).
        lines = [f"{line}\n" for line in path.read_text(encoding="utf-8-sig").split("\n")]
        found = list(_READERS[path.suffix.lower()](path, lines))
    except OSError as error:
        raise GenerationError(f"the prompts {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise GenerationError(f"{path} is not UTF-8 (byte {error.start})") from error
    if not found:
        raise GenerationError(f"{path} holds no prompts")
    return found


def _lines(path: Path, lines: Iterable[str]) -> Iterator[Asked]:
    full = [line.strip() for line in lines if line.strip()]
    if not all("|" in line for line in full):
        yield from (Asked("", line) for line in full)
        return
    for line in full:
        name, _, text = line.partition("|")
        yield _asked(f"{path}: {line[:60]!r}", name, text)


def _table(path: Path, lines: Iterable[str]) -> Iterator[Asked]:
    rows = csv.DictReader(lines, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
    try:
        for row in rows:
            where = f"{path}, line {rows.line_num}"
            if None in row:
                raise GenerationError(f"{where}: more fields than the first line names; quote texts with commas")
            yield _named(where, row)
    except csv.Error as error:
        raise GenerationError(f"{path}, line {rows.line_num}: {error}") from error


def _objects(path: Path, lines: Iterable[str]) -> Iterator[Asked]:
    for number, line in enumerate(lines, 1):
        where = f"{path}, line {number}"
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise GenerationError(f"{where}: not JSON ({error})") from error
        if isinstance(found, str):
            yield _asked(where, "", found)
        elif isinstance(found, dict):
            yield _named(where, found)
        else:
            raise GenerationError(f"{where}: neither an object nor a string")


_READERS = {".txt": _lines, ".csv": _table, ".tsv": _table, ".jsonl": _objects}


def _named(where: str, row: Mapping[str, Any]) -> Asked:
    column = next((name for name in TEXTS if name in row), None)
    if column is None:
        raise GenerationError(f"{where}: no {', '.join(TEXTS)}; it has {', '.join(map(str, row))[:200]}")
    text = row[column]
    if not isinstance(text, str):
        raise GenerationError(f"{where}: the prompt is no text")
    name = next((row[name] for name in IDS if row.get(name) not in (None, "")), "")
    if not isinstance(name, str | int):
        raise GenerationError(f"{where}: the id is neither text nor a whole number")
    return _asked(where, str(name), text)


def _asked(where: str, name: str, text: str) -> Asked:
    if not cleaned(text):
        raise GenerationError(f"{where}: an id without a prompt")
    return Asked(cleaned(name), cleaned(text))
