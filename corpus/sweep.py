"""What killed writers left behind: temporary files, tars that no unit names, uploads that were never finished.

    left = leftovers(store)                 # listed before the units are read: what they name from then on is no orphan
    swept = sweep(store, left, named, read, spare_s=3600)

No reader looks at any of it, so it is never an error. A tar is swept only when it is known that no unit names it: the
audio of a unit that cannot be read is kept, it may be all that is left of a source. While a driver is at work only
what is older than `spare_s` goes: a younger tar is about to be named by its unit. The plan's own temporary files are
always spared so long, and those of compactions and views, too: who plans, compacts or selects does not say so.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePosixPath

from corpus import units
from corpus.object_store import Upload
from corpus.store import Store
from corpus.work_ids import WORK_ID

#: Longer than the commit of any unit and the writing of any part of a plan.
SPARE_S = 3600.0

#: Where others than drivers write.
OTHERS = ("plan/", "corpus/compacted/", "views/")

#: The tar of a unit, or of a retry, as commits name it.
_TAR_NAME = re.compile(rf"({WORK_ID.pattern})-[0-9a-f]{{12}}\.tar")


@dataclass(frozen=True)
class Leftovers:
    """Candidates: every tar, temporary file and unfinished upload of the run folder."""

    tars: list[str]
    temporary: list[str]
    uploads: list[Upload]


@dataclass
class Swept:
    """How much was found, and how much of it is too young to go while a driver is at work."""

    tars: int = 0
    temporary: int = 0
    uploads: int = 0
    spared: int = 0

    def says(self, *, deleted: bool) -> str:
        said = f"{self.tars} orphan tars, {self.temporary} temporary files"
        said += f", {self.uploads} unfinished uploads" if self.uploads else ""
        if deleted:
            said += " deleted"
        elif self.tars or self.temporary or self.uploads:
            said += "; --sweep deletes them"
        return said + (f"; {self.spared} are too young to tell" if self.spared else "")


def leftovers(store: Store) -> Leftovers:
    return Leftovers(store.list("corpus/audio"), store.list("", temporary=True), store.unfinished_uploads())


def sweep(
    store: Store,
    found: Leftovers,
    named: Collection[str],
    read: Collection[str],
    *,
    delete: bool = True,
    spare_s: float = 0.0,
) -> Swept:
    """Count what is left over and `delete` it. `named`: tars that units name; `read`: units that could be read."""
    swept = Swept()
    for path in found.tars:
        if not _is_orphan(store, path, named, read):
            continue
        if _is_young(store, path, spare_s):
            swept.spared += 1
            continue
        swept.tars += 1
        if delete:
            _delete_orphan(store, path)
    for path in found.temporary:
        if _is_young(store, path, SPARE_S if path.startswith(OTHERS) else spare_s):
            swept.spared += 1
            continue
        swept.temporary += 1
        if delete:
            store.delete(path)
    for upload in found.uploads:
        if time.time() - upload.begun_s < spare_s:
            swept.spared += 1
            continue
        swept.uploads += 1
        if delete:
            store.abort_upload(upload)
    return swept


def _is_orphan(store: Store, path: str, named: Collection[str], read: Collection[str]) -> bool:
    """Whether it is certain that no unit names this tar."""
    name = _TAR_NAME.fullmatch(PurePosixPath(path).name)
    if name is None or path in named:
        return False
    return name[1] in read or not store.exists(units.root_path(name[1]))


def _is_young(store: Store, path: str, spare_s: float) -> bool:
    if spare_s <= 0:
        return False
    with suppress(FileNotFoundError):
        return time.time() - store.modified_s(path) < spare_s
    return True  # gone by now: its writer is at work


def _delete_orphan(store: Store, path: str) -> None:
    """Delete a tar; put it back if its unit has been committed in this very moment."""
    unit_id = PurePosixPath(path).name.rsplit("-", 1)[0]
    was_there = store.exists(units.root_path(unit_id))
    try:
        data = store.read(path)
    except FileNotFoundError:  # another sweep was faster
        return
    store.delete(path)
    if not was_there and store.exists(units.root_path(unit_id)):
        store.put_if_absent(path, data)
