"""Captions repeat, and their encoders are large: each caption is embedded once on a machine and kept on its disk.

One SQLite file per conditioner and machine, by the caption's hash: it serves every epoch, run and process, and a
killed process leaves it whole. It is bounded: the captions that came first go first.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from generation.conditioners.base import Conditioner, key_of

log = logging.getLogger(__name__)

#: Values of one SQLite query.
_AT_ONCE = 500
#: What SQLite takes for a row beside its vector, about.
_ROW_BYTES = 120


class CaptionFile:
    """Hash of a caption -> float32 vector, at most `limit` of them. Opened anew in each process that uses it."""

    def __init__(self, file: Path, limit: int) -> None:
        self._file, self._limit = file, max(1, limit)
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
        db.execute("create table if not exists captions (n integer primary key, sha blob unique not null, vector blob)")
        return db

    def __len__(self) -> int:
        return int(self._db.execute("select count(*) from captions").fetchone()[0])

    def get(self, shas: Sequence[bytes]) -> dict[bytes, np.ndarray]:
        found = {}
        for first in range(0, len(shas), _AT_ONCE):
            some = shas[first : first + _AT_ONCE]
            places = ",".join("?" * len(some))
            for sha, vector in self._db.execute(f"select sha, vector from captions where sha in ({places})", some):
                found[sha] = np.frombuffer(vector, dtype=np.float32)
        return found

    def put(self, vectors: Mapping[bytes, np.ndarray]) -> None:
        """Keep them, and let the oldest go; on a full disk nothing is kept."""
        rows = [(sha, np.asarray(vector, dtype=np.float32).tobytes()) for sha, vector in vectors.items()]
        try:
            self._db.execute("begin immediate")
            try:
                self._db.executemany("insert or ignore into captions (sha, vector) values (?, ?)", rows)
                self._db.execute("delete from captions where n <= (select max(n) from captions) - ?", (self._limit,))
                self._db.execute("commit")
            except sqlite3.Error:
                if self._db.in_transaction:
                    self._db.execute("rollback")
                raise
        except sqlite3.OperationalError as error:
            log.warning("caption embeddings are not kept in %s: %s", self._file, error)


class Cached:
    """A conditioner that remembers, on disk; one that is not `independent` is asked anew each time."""

    def __init__(self, conditioner: Conditioner, folder: Path, limit_mb: int = 4096) -> None:
        self._inner = conditioner
        self.name, self.weights_sha256 = conditioner.name, conditioner.weights_sha256
        self.width, self.independent = conditioner.width, conditioner.independent
        self._file: CaptionFile | None = None
        if conditioner.independent:
            safe = "".join(c if c.isalnum() or c in "-_.@" else "_" for c in key_of(conditioner))[-150:]
            limit = limit_mb * 1_000_000 // (4 * self.width + _ROW_BYTES)
            self._file = CaptionFile(folder / f"{safe}.{os.uname().nodename}.sqlite", limit)

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        if self._file is None:
            return self._inner.embed(texts)
        shas = {text: _sha(text) for text in texts}
        known = self._file.get(list(shas.values()))
        new = [text for text, sha in shas.items() if sha not in known]
        if new:
            fresh = {shas[text]: vector for text, vector in zip(new, self._inner.embed(new), strict=True)}
            self._file.put(fresh)
            known |= fresh
        out = np.zeros((len(texts), self.width), dtype=np.float32)
        for row, text in enumerate(texts):
            out[row] = known[shas[text]]
        return out


def _sha(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:20]
