"""What an object store behind fsspec is asked for: a client that remembers no listing, and puts that never overwrite.

A put with "only if it is not there" is the store's own promise (If-None-Match on S3, generation 0 on Google's, no
overwrite on Azure's). `keeps_first` tries whether it is kept; where it is not, a put looks first and then writes, and
two writers of one path may both believe to be first (docs/stores.md says what that means for a run).
"""

from __future__ import annotations

import errno
import inspect
import os
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

#: A lost race has many names: FileExistsError, EINVAL for a 412, EIO for a 409. The last may also mean "try again".
_TRIES = 4
_PAUSE_S = 0.2
_UNCLEAR = {errno.EIO, errno.EINVAL, errno.EBUSY, None}


def filesystem(url: str) -> tuple[Any, str]:
    """The client for a URL, and the path in it; one a process, since each opens connections of its own."""
    return _filesystem(url, os.getpid())


@lru_cache(maxsize=16)
def _filesystem(url: str, _process: int) -> tuple[Any, str]:
    import fsspec

    fs, base = fsspec.core.url_to_fs(url, skip_instance_cache=True)
    # Other machines write here too: a remembered listing would hide what they have committed.
    if hasattr(fs, "dircache"):
        fs.dircache.clear()
        fs.dircache.use_listings_cache = False
    return fs, str(base).rstrip("/")


def forget() -> None:
    """Drop this process's clients: what they were told (endpoint, credentials) has changed."""
    _filesystem.cache_clear()


def exists(fs: Any, name: str) -> bool:
    """Whether an object is there. Clients' own `isfile` says no, too, when the store does not answer."""
    try:
        return bool(fs.info(name)["type"] == "file")
    except FileNotFoundError:
        return False


def put_new(fs: Any, name: str, data: bytes | Path) -> bool:
    """Write an object as a whole; False when it is there already, and then it is left as it is."""
    if fs.exists(name):
        return False
    for tries_left in reversed(range(_TRIES)):
        try:
            _send(fs, name, data, exclusive=True)
        except OSError as error:
            if fs.exists(name):  # what counts is who is there
                return False
            if tries_left == 0 or error.errno not in _UNCLEAR:
                raise
            time.sleep(_PAUSE_S)
        else:
            return True
    raise AssertionError("the last try returns or raises")


def put(fs: Any, name: str, data: bytes | Path) -> None:
    """Write an object as a whole, over what may be there."""
    _send(fs, name, data, exclusive=False)


def keeps_first(fs: Any, name: str) -> bool:
    """Whether a put that must not overwrite is refused by the store itself: tried on an object of our own."""
    probe = f"{name}-{secrets.token_hex(8)}"
    try:
        _send(fs, probe, b"first", exclusive=True)
        with suppress(OSError):
            _send(fs, probe, b"second", exclusive=True)
        return bool(fs.cat_file(probe) == b"first")
    finally:
        with suppress(OSError):
            fs.rm_file(probe)


@dataclass(frozen=True)
class Upload:
    """An upload in parts that has not been finished; nothing can be read of it."""

    bucket: str
    key: str
    upload_id: str
    begun_s: float


def unfinished_uploads(fs: Any, base: str) -> list[Upload]:
    """The first thousand below `base`, where the client knows of uploads (s3fs does)."""
    if not hasattr(fs, "call_s3"):
        return []
    bucket, _, prefix = base.partition("/")
    found = fs.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=f"{prefix}/" if prefix else "")
    return [
        Upload(bucket, upload["Key"], upload["UploadId"], upload["Initiated"].timestamp())
        for upload in found.get("Uploads", [])
        if not prefix or upload["Key"].startswith(f"{prefix}/")
    ]


def abort_upload(fs: Any, upload: Upload) -> None:
    with suppress(FileNotFoundError):  # finished or aborted by now
        fs.abort_mpu(upload.bucket, upload.key, upload.upload_id)


def _send(fs: Any, name: str, data: bytes | Path, *, exclusive: bool) -> None:
    """Large files go in parts where the client can do that; the object appears whole, with the last part."""
    if isinstance(data, Path) and (how := _exclusively(fs, "put_file")):
        fs.put_file(str(data), name, **(how if exclusive else {}))
        return
    how = _exclusively(fs, "pipe_file") if exclusive else {}
    fs.pipe_file(name, data if isinstance(data, bytes) else data.read_bytes(), **how)


def _exclusively(fs: Any, method: str) -> dict[str, Any]:
    """How this client is told to write only what is not there; nothing where it cannot be told.

    fsspec's own `put_file` takes the word, too, but only looks before it writes: a client's own, `_put_file`, counts.
    """
    own = getattr(fs, f"_{method}", None) or (fs.pipe_file if method == "pipe_file" else None)
    takes = inspect.signature(own).parameters if own is not None else {}
    if "mode" in takes:
        return {"mode": "create"}
    return {"overwrite": False} if "overwrite" in takes else {}
