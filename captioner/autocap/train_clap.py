"""CLAP embeddings of a batch: from the shard if it carries this scorer's, from the cache, or heard now.

A cache is one SQLite file per scorer, by the hash of the encoded sound: it serves every epoch, every run and every
process of a machine, and a killed process leaves it whole.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from audio.resample import resample
from captioner.autocap.train_data import Clip
from scorer.load import Scorer, model_name
from training.errors import TrainError

#: Values of one SQLite query.
_AT_ONCE = 500


class ClapCache:
    """sha -> float32 vector. Opened anew in each process that uses it."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(file, timeout=60, isolation_level=None, check_same_thread=False)
        self._db.execute("pragma synchronous = off")  # a lost embedding is heard again
        self._db.execute("create table if not exists heard (sha text primary key, vector blob) without rowid")

    def get(self, shas: Sequence[str]) -> dict[str, np.ndarray]:
        found = {}
        for first in range(0, len(shas), _AT_ONCE):
            some = shas[first : first + _AT_ONCE]
            places = ",".join("?" * len(some))
            for sha, vector in self._db.execute(f"select sha, vector from heard where sha in ({places})", some):
                found[sha] = np.frombuffer(vector, dtype=np.float32)
        return found

    def put(self, vectors: Mapping[str, np.ndarray]) -> None:
        rows = [(sha, np.asarray(vector, dtype=np.float32).tobytes()) for sha, vector in vectors.items()]
        self._db.execute("begin immediate")
        self._db.executemany("insert or ignore into heard values (?, ?)", rows)
        self._db.execute("commit")


class ClapTokens:
    """The vectors that become CLAP tokens. Without a scorer the shards must carry them."""

    def __init__(self, scorer: Scorer | None, width: int, sample_rate_hz: int, cache_dir: Path | None) -> None:
        if scorer is not None and scorer.embedding_dim != width:
            raise TrainError(
                f"clap.model {scorer.model_id} makes vectors of {scorer.embedding_dim} numbers, the net takes {width}"
            )
        self._scorer, self._width, self._rate_hz = scorer, width, sample_rate_hz
        self.model = None if scorer is None else model_name(scorer)
        self._cache: ClapCache | None = None
        self._one_at_a_time = threading.Lock()
        if scorer is not None and cache_dir is not None:
            safe = "".join(c if c.isalnum() or c in "-_.@" else "_" for c in model_name(scorer))
            self._cache = ClapCache(cache_dir / f"{safe}.{os.uname().nodename}.sqlite")

    def __call__(self, clips: Sequence[Clip]) -> np.ndarray:
        """(B, width) float32 of unit length. One thread at a time: validation and the next step's may ask together."""
        with self._one_at_a_time:
            return self._vectors(clips)

    def _vectors(self, clips: Sequence[Clip]) -> np.ndarray:
        out = np.zeros((len(clips), self._width), dtype=np.float32)
        cached = {} if self._cache is None else self._cache.get([clip.sha for clip in clips if clip.sha])
        unheard = []
        for row, clip in enumerate(clips):
            vector = self._carried(clip)
            if vector is None and clip.sha is not None:
                vector = cached.get(clip.sha)
            if vector is None:
                unheard.append(row)
            else:
                out[row] = vector
        if unheard:
            out[unheard] = self._heard([clips[row] for row in unheard])
        return out

    def _carried(self, clip: Clip) -> np.ndarray | None:
        """The shard's vector, if it is this scorer's; a whole clip's for its window only where nobody can hear."""
        if clip.clap_embedding is None or clip.clap_embedding.size != self._width:
            return None
        heard_better = self._scorer is not None and (clip.sha is None or self.model != clip.clap_model)
        return None if heard_better else clip.clap_embedding

    def _heard(self, clips: Sequence[Clip]) -> np.ndarray:
        if self._scorer is None:
            raise TrainError(
                f"clip {clips[0].key}: the shard carries no CLAP embedding of {self._width} numbers and clap.model "
                "names no scorer; name one, or make the view with select --keep clap_audio_embedding"
            )
        waves = [resample(clip.wave, self._rate_hz, self._scorer.sample_rate_hz) for clip in clips]
        vectors = self._scorer.embed_audio(waves)
        if self._cache is not None:
            self._cache.put({clip.sha: vector for clip, vector in zip(clips, vectors, strict=True) if clip.sha})
        return vectors
