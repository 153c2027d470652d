"""Captions repeat, and their encoders are large: each caption is embedded once on a machine and kept on its disk, by
its hash (training/vectors.py)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from generation.conditioners.base import Conditioner, key_of
from training.vectors import VectorFile, path_of

#: What SQLite takes for a row beside its vector, about.
_ROW_BYTES = 120


class Cached:
    """A conditioner that remembers, on disk; one that is not `independent` is asked anew each time."""

    def __init__(self, conditioner: Conditioner, folder: Path, limit_mb: int = 4096) -> None:
        self.inner = conditioner
        self.name, self.weights_sha256 = conditioner.name, conditioner.weights_sha256
        self.width, self.independent, self.hears = conditioner.width, conditioner.independent, conditioner.hears
        self._file: VectorFile[bytes] | None = None
        if conditioner.independent:
            limit = limit_mb * 1_000_000 // (4 * self.width + _ROW_BYTES)
            self._file = VectorFile(path_of(folder, key_of(conditioner)), limit)

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        if self._file is None:
            return self.inner.embed(texts)
        shas = {text: _sha(text) for text in texts}
        known = self._file.get(list(shas.values()))
        new = [text for text, sha in shas.items() if sha not in known]
        if new:
            fresh = {shas[text]: vector for text, vector in zip(new, self.inner.embed(new), strict=True)}
            self._file.put(fresh)
            known |= fresh
        out = np.zeros((len(texts), self.width), dtype=np.float32)
        for row, text in enumerate(texts):
            out[row] = known[shas[text]]
        return out

    def hear(self, waves: Sequence[np.ndarray], sample_rate_hz: int) -> np.ndarray:
        """Anew each time: hardly a crop comes twice."""
        return self.inner.hear(waves, sample_rate_hz)


def _sha(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:20]
