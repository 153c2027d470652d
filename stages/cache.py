"""Media on this node: one folder a source, filled once, by whoever comes first.

    path = MediaCache(cache_dir).get("dQw4w9WgXcQ", fill)     # fill(folder) makes one file there and
    returns its path

`<cache_dir>/<source_id>/media.<ext>` is there = the source is fetched. It gets there by a rename of a
complete file, so a crash leaves either all of it or a `.tmp-` folder, which the next comer removes. A file
lock keeps two workers of a node from fetching one source twice; the system drops it when its holder dies.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from corpus.storage_faults import storage_fault

SOURCE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class MediaCache:
    """The media folder of a node. A source may have files of other names beside its `media`: each is filled once."""

    def __init__(self, root: Path, name: str = "media") -> None:
        self.root = root
        self.name = name

    def find(self, source_id: str) -> Path | None:
        """The source's file of this name, if it is there."""
        return next(iter(sorted(self._folder(source_id).glob(f"{self.name}.*"))), None)

    def get(self, source_id: str, fill: Callable[[Path], Path]) -> Path:
        """The source's file, made by `fill` in a temporary folder if nobody has made it yet.

        `fill` may answer with a file that it keeps in the source's own folder: that stays where it is.
        """
        folder = self._folder(source_id)
        with self._locked(source_id):
            if found := self.find(source_id):
                return found
            work = folder / ".tmp-fetch"
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir(parents=True)
            try:
                made = fill(work)
                if made.parent == folder:
                    return made
                return _put_in_place(made, folder / f"{self.name}{_safe_suffix(made)}")
            except Exception as error:
                if full := storage_fault(error, self.root):
                    raise full from error  # whatever it was taken for on the way here: no source is at fault
                raise
            finally:
                shutil.rmtree(work, ignore_errors=True)

    def drop(self, source_id: str) -> None:
        """Forget a source; its clips are cut and committed."""
        with self._locked(source_id):
            shutil.rmtree(self._folder(source_id), ignore_errors=True)

    def _folder(self, source_id: str) -> Path:
        if not SOURCE_ID.fullmatch(source_id):
            raise ValueError(f"not a source id: {source_id!r}")
        return self.root / source_id

    @contextmanager
    def _locked(self, source_id: str) -> Iterator[None]:
        """A fixed set of lock files, so that they need no clearing up; two sources rarely share one."""
        locks = self.root / ".locks"
        locks.mkdir(parents=True, exist_ok=True)
        handle = os.open(locks / hashlib.sha256(source_id.encode()).hexdigest()[:3], os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _put_in_place(made: Path, final: Path) -> Path:
    with made.open("rb") as file:
        os.fsync(file.fileno())
    made.replace(final)
    return final


def _safe_suffix(path: Path) -> str:
    """The file's extension where it is a plain one: decoders look at it for some raw formats."""
    return path.suffix.lower() if re.fullmatch(r"\.[A-Za-z0-9]{1,8}", path.suffix) else ".bin"
