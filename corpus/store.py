"""One folder, on a disk or behind an fsspec URL: the few operations that the corpus stands on.

    store = Store("runs/demo")
    store.put_if_absent("corpus/units/00000/00000-00001.parquet", data)   # False: somebody was first

Everything is written whole or not at all. On a disk: a temporary file (`.tmp-*`, ignored by every reader), fsync,
then `link` (put if absent: EEXIST says who was first) or `rename` (replace), then fsync of the folder. On an object
store, which takes whole objects only: an exclusive create where it has one, else a check before the write
(corpus/object_store.py). A disk that takes nothing more is a StorageFault, and leaves nothing half written.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

from corpus import object_store
from corpus.storage_faults import writing

#: Names that begin so are half-written files; no reader takes them for data.
TEMPORARY = ".tmp-"

#: Paths relative to the store; a name of its own because the class below has a method called `list`.
Paths = list[str]
Uploads = list[object_store.Upload]

#: What `link` says where a file system has no hard links.
_NO_LINKS = {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK}

#: URLs that mean this machine's disk.
_LOCAL = ("file://", "local://")


class StoreError(Exception):
    """A path that leaves the store, or a store that cannot be written; the message says which."""


class Store:
    """A run folder. Paths are relative, `/`-separated, and never leave it."""

    def __init__(self, root: str | Path) -> None:
        self.root = str(root).rstrip("/") or "/"
        self._is_local = "://" not in self.root or self.root.startswith(_LOCAL)

    def __repr__(self) -> str:
        return f"Store({self.root!r})"

    # -- names

    def local(self, path: str = "") -> Path | None:
        """The file on this machine's disk, or None on an object store."""
        if not self._is_local:
            return None
        base = Path(self.root.removeprefix(_LOCAL[0]).removeprefix(_LOCAL[1]))
        return base / _checked(path) if path else base

    @property
    def _remote(self) -> tuple[Any, str]:
        return object_store.filesystem(self.root)

    def fs_and_path(self, path: str) -> tuple[Any, str]:
        """An fsspec filesystem and the path in it, as pyarrow and pandas take them."""
        if self._is_local:
            import fsspec

            return fsspec.filesystem("file"), str(self.local(path))
        fs, base = self._remote
        return fs, f"{base}/{_checked(path)}"

    # -- reading

    def exists(self, path: str) -> bool:
        if (file := self.local(path)) is not None:
            return file.is_file()
        return object_store.exists(*self.fs_and_path(path))

    def read(self, path: str) -> bytes:
        """The whole file. FileNotFoundError when it is not there."""
        with self.open(path) as file:
            return file.read()

    def read_range(self, path: str, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`; fewer when the file ends first."""
        with self.open(path) as file:
            file.seek(offset)
            return file.read(size)

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        """A seekable binary file for reading."""
        if (file := self.local(path)) is not None:
            with file.open("rb") as opened:
                yield opened
        else:
            fs, name = self.fs_and_path(path)
            with fs.open(name, "rb") as opened:
                yield cast(BinaryIO, opened)

    def size(self, path: str) -> int:
        if (file := self.local(path)) is not None:
            return file.stat().st_size
        fs, name = self.fs_and_path(path)
        return int(fs.size(name))

    def list(self, prefix: str = "", *, temporary: bool = False) -> Paths:
        """Every file below `prefix`, relative to the store, sorted. Half-written ones only if `temporary`."""
        names = self._list_local(prefix) if self._is_local else self._list_remote(prefix)
        return sorted(name for name in names if name.rpartition("/")[2].startswith(TEMPORARY) == temporary)

    def _list_local(self, prefix: str) -> Paths:
        base = cast(Path, self.local())
        top = base / _checked(prefix) if prefix else base
        found = []
        for folder, _, names in os.walk(top):  # hundreds of thousands of units: a path object each would take seconds
            inside = Path(folder).relative_to(base).as_posix()
            found += names if inside == "." else [f"{inside}/{name}" for name in names]
        return found

    def _list_remote(self, prefix: str) -> Paths:
        fs, base = self._remote
        fs.invalidate_cache()
        top = f"{base}/{_checked(prefix)}" if prefix else base
        strip = len(base.lstrip("/")) + 1
        return [str(name).lstrip("/")[strip:] for name in fs.find(top)]

    # -- writing

    def put_if_absent(self, path: str, data: bytes | Path) -> bool:
        """Write `data` (bytes, or a local file's content) as a whole; False when the path is there already."""
        if self._is_local:
            return self._put_local(path, data, replace=False)
        return object_store.put_new(*self.fs_and_path(path), data)

    def replace(self, path: str, data: bytes | Path) -> None:
        """Write `data` as a whole, over what may be there. For files that are derived, never for units."""
        if self._is_local:
            self._put_local(path, data, replace=True)
        else:
            object_store.put(*self.fs_and_path(path), data)

    def _put_local(self, path: str, data: bytes | Path, *, replace: bool) -> bool:
        target = cast(Path, self.local(path))
        if not replace and target.exists():
            return False
        with writing(target.parent):
            _make_folder(target.parent)
            temporary = target.parent / f"{TEMPORARY}{secrets.token_hex(8)}"
            try:
                with temporary.open("xb") as file:
                    _copy_into(file, data)
                    file.flush()
                    os.fsync(file.fileno())
                won = _put_in_place(temporary, target, replace=replace)
            finally:
                with suppress(OSError):  # what cannot be removed here is what `verify --sweep` removes
                    temporary.unlink()
            _sync_folder(target.parent)
        return won

    def keeps_first(self) -> bool:
        """Whether `put_if_absent` has one winner whatever happens: always on a disk; tried on an object store."""
        return self._is_local or object_store.keeps_first(*self.fs_and_path("logs/.probe"))

    def modified_s(self, path: str) -> float:
        """When a file was put in place, by the store's own clock, as seconds since 1970."""
        if (file := self.local(path)) is not None:
            return file.stat().st_mtime
        fs, name = self.fs_and_path(path)
        return float(fs.modified(name).timestamp())

    def unfinished_uploads(self) -> Uploads:
        """Uploads in parts that a killed writer left: an object store keeps, and bills, the parts."""
        return [] if self._is_local else object_store.unfinished_uploads(*self._remote)

    def abort_upload(self, upload: object_store.Upload) -> None:
        object_store.abort_upload(self._remote[0], upload)

    def delete(self, path: str) -> None:
        """Remove a file; nothing happens when it is not there."""
        if (file := self.local(path)) is not None:
            with suppress(FileNotFoundError):
                file.unlink()
            return
        fs, name = self.fs_and_path(path)
        with suppress(FileNotFoundError):
            fs.rm_file(name)


def _checked(path: str) -> str:
    """The path, if it stays inside: no absolute path, no `..`, no empty part, no NUL."""
    parts = path.split("/")
    if path.startswith("/") or "\0" in path or any(part in {"", ".", ".."} for part in parts):
        raise StoreError(f"not a path inside a run folder: {path!r}")
    return path


def _copy_into(file: BinaryIO, data: bytes | Path) -> None:
    if isinstance(data, bytes):
        file.write(data)
        return
    with data.open("rb") as source:
        while chunk := source.read(1 << 20):
            file.write(chunk)


def _put_in_place(temporary: Path, target: Path, *, replace: bool) -> bool:
    if replace:
        temporary.replace(target)
        return True
    try:
        os.link(temporary, target)
    except FileExistsError:
        # Over a network the answer to a link that was made may be lost, and the call sent again finds its own work.
        return temporary.stat().st_nlink == 2
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # A file system without hard links (some network and FUSE ones): look, then rename. Two writers of one unit
        # write the same bytes, so the one that comes second changes nothing.
        if target.exists():
            return False
        temporary.replace(target)
    return True


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it, each known to the disk before anything is put in it."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    """Make the new name itself survive a power cut; not every system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
