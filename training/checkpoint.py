"""Checkpoints that are there whole or not at all: folders made under another name, put in place by one rename.

    RUN/checkpoints/step-00000120/      whatever `write` puts in it
        complete.json                   the SHA-256 of every other file; written last

A folder whose files are not what complete.json says is passed over for the one before it. One that replaces another
changes places with it. Where a disk cannot do that the old one is set aside for a moment; a kill in that moment leaves
it to `sweep`, which puts it back.
"""

from __future__ import annotations

import glob
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from training.exchange import exchange

log = logging.getLogger(__name__)

COMPLETE = "complete.json"
#: Before a folder's name: what is being made, what is replaced, what is being removed.
_NEW, _OLD, _GONE = ".tmp-new-", ".tmp-old-", ".tmp-gone-"
_NAME = re.compile(r"step-(\d{8,})")


def save(folder: Path, step: int, write: Callable[[Path], None], *, keep: int) -> Path:
    """Let `write` fill a checkpoint of `step`, put it in place, and remove all but the last `keep`."""
    target = folder / f"step-{step:08d}"
    put_folder(target, write)
    found = _steps(folder)
    # One of a later step is damaged: else it would be the one that the run went on from.
    later = [path for other, path in found if other > step]
    for old in [*later, *(path for _, path in found[len(later) + keep :])]:
        # Renamed first: a half-removed folder must not look like a damaged checkpoint.
        gone = old.with_name(f"{_GONE}{old.name}")
        old.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
    return target


def put_folder(target: Path, write: Callable[[Path], None]) -> None:
    """A folder of files with their hashes beside them, in place of what may be there under the name."""
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep(target.parent, target.name)
    making = target.with_name(f"{_NEW}{target.name}")
    making.mkdir()
    write(making)
    sums = {path.name: _sha256_on_disk(path) for path in sorted(making.iterdir())}
    complete = making / COMPLETE
    complete.write_text(json.dumps(sums, indent=2) + "\n")
    _sync(complete)
    _sync(making)
    if not target.exists():
        making.rename(target)
    elif not exchange(making, target):
        target.rename(target.with_name(f"{_OLD}{target.name}"))
        making.rename(target)
    _sync(target.parent)
    sweep(target.parent, target.name)


def sweep(folder: Path, name: str | None = None) -> None:
    """Remove what a killed process was making of `name` here, or of anything; put back what it had set aside."""
    pattern = "*" if name is None else glob.escape(name)
    for old in folder.glob(f"{_OLD}{pattern}"):
        place = old.with_name(old.name.removeprefix(_OLD))
        if not place.exists():
            old.rename(place)
    for kind in (_NEW, _OLD, _GONE):
        for left in folder.glob(f"{kind}{pattern}"):
            shutil.rmtree(left, ignore_errors=True)


def newest(folder: Path) -> Path | None:
    """The last checkpoint that is whole; None where there is none."""
    for _, path in _steps(folder):
        if fault := damage(path):
            log.warning("%s is passed over: %s", path, fault)
        else:
            return path
    return None


def damage(path: Path) -> str | None:
    """What is wrong with a checkpoint, in words; None if nothing is."""
    try:
        sums = json.loads((path / COMPLETE).read_text())
        for name, sha256 in sums.items():
            with (path / name).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                    return f"{name} is not what was written (its SHA-256 differs)"
    except (OSError, ValueError, AttributeError) as error:
        return str(error)
    return None


def _steps(folder: Path) -> list[tuple[int, Path]]:
    return sorted(_found(folder), reverse=True)


def _found(folder: Path) -> Iterator[tuple[int, Path]]:
    for path in folder.iterdir() if folder.is_dir() else ():
        if match := _NAME.fullmatch(path.name):
            yield int(match[1]), path


def _sha256_on_disk(path: Path) -> str:
    _sync(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
