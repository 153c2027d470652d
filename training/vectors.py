"""Vectors that are dear to make, kept on a machine's disk by a key: a caption's embedding, or a sound's.

    file = VectorFile(path_of(folder, "t5/flan@1f2e"), limit=100_000)
    known = file.get(keys)

One SQLite file per maker and machine: it serves every epoch, run and process, and a killed process leaves it whole.
Where it is bounded, the vectors that came first go first.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

log = logging.getLogger(__name__)

Key = TypeVar("Key", bytes, str)

#: Values of one SQLite query.
_AT_ONCE = 500
#: Longest part of a maker's name in a file's name.
_NAME = 150


def path_of(folder: Path, maker: str) -> Path:
    """The file of one maker of vectors on this machine; networks' file systems do not lock as SQLite needs it."""
    safe = "".join(c if c.isalnum() or c in "-_.@" else "_" for c in maker)[-_NAME:]
    return folder / f"{safe}.{os.uname().nodename}.sqlite"


class VectorFile(Generic[Key]):
    """Key -> float32 vector, at most `limit` of them, all for None. Opened anew in each process that uses it.

    A damaged file is begun anew. Threads take turns: a connection has one transaction.
    """

    def __init__(self, file: Path, limit: int | None = None) -> None:
        self._file, self._limit = file, None if limit is None else max(1, limit)
        self._turn = threading.Lock()
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = self._opened()
        except sqlite3.OperationalError:
            raise  # locked for a minute, or no place: nothing is wrong with the file
        except sqlite3.DatabaseError as error:
            log.warning("%s is damaged (%s) and begun anew", file, error)
            file.unlink(missing_ok=True)
            self._db = self._opened()

    def _opened(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._file, timeout=60, isolation_level=None, check_same_thread=False)
        db.execute("pragma synchronous = off")  # a lost vector is made again
        db.execute("create table if not exists vectors (n integer primary key, key blob unique not null, vector blob)")
        return db

    def __len__(self) -> int:
        return int(self._db.execute("select count(*) from vectors").fetchone()[0])

    def get(self, keys: Sequence[Key]) -> dict[Key, np.ndarray]:
        found = {}
        with self._turn:
            for first in range(0, len(keys), _AT_ONCE):
                some = keys[first : first + _AT_ONCE]
                places = ",".join("?" * len(some))
                for key, vector in self._db.execute(f"select key, vector from vectors where key in ({places})", some):
                    found[key] = np.frombuffer(vector, dtype=np.float32)
        return found

    def put(self, vectors: Mapping[Key, np.ndarray]) -> None:
        """Keep those that are new, and let the oldest go; on a full disk nothing is kept."""
        rows = [(key, np.asarray(vector, dtype=np.float32).tobytes()) for key, vector in vectors.items()]
        with self._turn:
            self._put(rows)

    def _put(self, rows: Sequence[tuple[Key, bytes]]) -> None:
        try:
            self._db.execute("begin immediate")
            try:
                self._db.executemany("insert or ignore into vectors (key, vector) values (?, ?)", rows)
                if self._limit is not None:
                    self._db.execute("delete from vectors where n <= (select max(n) from vectors) - ?", (self._limit,))
                self._db.execute("commit")
            except sqlite3.Error:
                if self._db.in_transaction:
                    self._db.execute("rollback")
                raise
        except sqlite3.OperationalError as error:
            log.warning("embeddings are not kept in %s: %s", self._file, error)
