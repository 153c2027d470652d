"""The compacted files of a run: what they are called, which of them are read, and when one may go.

    corpus/compacted/<leg>/<first unit>_<last unit>_<rows>_<files>_<made of>_<sha256>_v2.parquet

`files` counts the units' files that it was made of, `made of` (12 hex) is a hash of their names, `sha256` begins with
the first 12 hex of its own. A file is never changed. When a leg has more, the fuller file is written under another
name; the old one goes, unless a view refers to it: a view names the very files that it has counted rows in.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePosixPath
from typing import BinaryIO

import pyarrow.parquet as pq

from corpus.store import Store

#: Of the files and of the views that refer to them. Others are made again.
FORMAT_VERSION = 2

#: Beside a file that a compaction is about to delete.
_GOING = ".going-"

#: A mark that stays longer than this was left by a compaction that was killed.
_MARKS_STAY_S = 10.0

_FILE_NAME = re.compile(
    r"([0-9]+-[0-9]+)_([0-9]+-[0-9]+)_([0-9]+)_([0-9]+)_([0-9a-f]{12})_([0-9a-f]{12})"
    rf"_v{FORMAT_VERSION}\.parquet"
)

#: Metadata: hashes of the names of the units, of the units' files, and of all clip ids in order.
UNITS_KEY = "autorecap.units_sha256"
CONTENT_KEY = "autorecap.content_sha256"
CLIPS_KEY = "autorecap.clips_sha256"


class CompactionError(Exception):
    """Compacted files that do not fit together; the message says where and what to do."""


@dataclass(frozen=True)
class Compacted:
    """A compacted file, as its name describes it."""

    path: str
    first: str
    last: str
    rows: int
    files: int
    made_of: str  # 12 hex of a hash of the units' file names
    sha256: str  # the first 12 hex

    def is_older_than(self, other: Compacted) -> bool:
        return self._fullness < other._fullness

    @property
    def _fullness(self) -> tuple[int, int, str, str]:
        return self.files, self.rows, self.last, self.path


def compacted_folder(leg: str) -> str:
    return f"corpus/compacted/{leg}"


def made_of(unit_files: Iterable[str]) -> str:
    """Of files that are written once, the names say all."""
    return hashlib.sha256("\n".join(unit_files).encode()).hexdigest()[:12]


def stem(first: str, last: str, rows: int, unit_files: Sequence[str]) -> str:
    """A compacted file's name as far as it is known before the file is written."""
    return f"{first}_{last}_{rows}_{len(unit_files)}_{made_of(unit_files)}"


def path_of(leg: str, stem: str, sha256: str) -> str:
    return f"{compacted_folder(leg)}/{stem}_{sha256[:12]}_v{FORMAT_VERSION}.parquet"


def as_compacted(path: str) -> Compacted | None:
    """None for what this version does not read."""
    found = _FILE_NAME.fullmatch(PurePosixPath(path).name)
    return found and Compacted(path, found[1], found[2], int(found[3]), int(found[4]), found[5], found[6])


def compacted_files(store: Store, leg: str) -> list[Compacted]:
    """What to read of a leg, in plan order: of files that begin with the same unit the fullest."""
    fullest: dict[str, Compacted] = {}
    for path in store.list(compacted_folder(leg)):
        if file := as_compacted(path):
            other = fullest.get(file.first)
            if other is None or other.is_older_than(file):
                fullest[file.first] = file
    files = sorted(fullest.values(), key=lambda file: file.first)
    for before, after in pairwise(files):
        if after.first <= before.last:
            raise CompactionError(
                f"{before.path} and {after.path} hold the same units; delete corpus/compacted, it is made again"
            )
    return files


def is_sound(file: Compacted, opened: BinaryIO) -> bool:
    """Whether the bytes are those that the file's name tells of."""
    return hashlib.file_digest(opened, "sha256").hexdigest().startswith(file.sha256)  # type: ignore[arg-type]


def content_sha256(unit_hashes: Iterable[tuple[str, str]]) -> str:
    """One hash for many units' files: of their names and SHA-256, in order."""
    return hashlib.sha256("".join(f"{name} {sha256}\n" for name, sha256 in unit_hashes).encode()).hexdigest()


def content_hash_of(parquet: pq.ParquetFile) -> str | None:
    """What a compacted file says of the unit files it was made from."""
    value = (parquet.metadata.metadata or {}).get(CONTENT_KEY.encode())
    return None if value is None else str(value.decode())


# -- what views refer to


def view_summaries(store: Store) -> dict[str, dict[str, object]]:
    """View name -> its record, of the views that this version can read."""
    found = {}
    for path in store.list("views"):
        if path.endswith(".json"):
            with suppress(FileNotFoundError, ValueError):
                record = json.loads(store.read(path))
                if isinstance(record, dict) and record.get("format_version") == FORMAT_VERSION:
                    found[PurePosixPath(path).stem] = record
    return found


def files_of_view(summary: dict[str, object]) -> list[str]:
    """Paths of the compacted files that a view refers to."""
    named = summary.get("corpus")
    per_leg = named if isinstance(named, dict) else {}
    return [f"{compacted_folder(leg)}/{name}" for leg, names in per_leg.items() for name in names]


def take_away(store: Store, paths: Sequence[str]) -> None:
    """Delete compacted files that have been replaced; what a view refers to stays.

    A mark is put before the views are read, and `select` looks for marks after its view is written: whichever of the
    two comes second sees the other. A mark that is gone was taken for a killed compaction's: its file stays.
    """
    if not paths:
        return
    own = f"{_GOING}{secrets.token_hex(8)}"
    for path in paths:
        store.put_if_absent(path + own, b"")
    needed = {path for summary in view_summaries(store).values() for path in files_of_view(summary)}
    for path in paths:
        if path not in needed and store.exists(path + own):
            store.delete(path)
        store.delete(path + own)


def forget_marks(store: Store, listed: Sequence[str]) -> None:
    """Delete marks, of those `listed` a while ago, whose file has gone: a compaction was killed just then."""
    for mark in listed:
        if _GOING in mark and not store.exists(mark.partition(_GOING)[0]):
            store.delete(mark)


def all_stay(store: Store, paths: Sequence[str]) -> bool:
    """Whether the files that a view, now written, refers to are there and nobody is about to delete one."""
    folders = {PurePosixPath(path).parent.as_posix() for path in paths}
    waited_until = time.monotonic() + _MARKS_STAY_S
    while True:
        there = {path for folder in folders for path in store.list(folder)}
        if not there.issuperset(paths):
            return False
        marks = [path for path in there if path.partition(_GOING)[0] in paths and _GOING in path]
        if not marks:
            return True
        if time.monotonic() > waited_until:
            for mark in marks:
                store.delete(mark)
        time.sleep(0.05)
