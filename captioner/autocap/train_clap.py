"""CLAP embeddings of a batch: from the shard if it carries this scorer's, from the cache, or heard now.

A cache is one file per scorer and machine (training/vectors.py), by the hash of the encoded sound.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from audio.resample import resample
from captioner.autocap.train_data import Clip
from scorer.load import Scorer, model_name
from training.errors import TrainError
from training.vectors import VectorFile, path_of


class ClapTokens:
    """The vectors that become CLAP tokens. Without a scorer the shards must carry them."""

    def __init__(self, scorer: Scorer | None, width: int, sample_rate_hz: int, cache_dir: Path | None) -> None:
        if scorer is not None and scorer.embedding_dim != width:
            raise TrainError(
                f"clap.model {scorer.model_id} makes vectors of {scorer.embedding_dim} numbers, the net takes {width}"
            )
        self._scorer, self._width, self._rate_hz = scorer, width, sample_rate_hz
        self.model = None if scorer is None else model_name(scorer)
        self._cache: VectorFile[str] | None = None
        self._one_at_a_time = threading.Lock()
        if scorer is not None and cache_dir is not None:
            self._cache = VectorFile(path_of(cache_dir, model_name(scorer)))

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
