"""A CLAP (scorer/load.py): the small embedded one, a ClapModel of transformers, LAION's files. It reads and hears."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from audio.resample import resample
from scorer.load import Scorer


class ScorerText:
    """A scorer as a conditioner: unit vectors, one for each text or sound whatever the others are."""

    independent = True

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self.name, self.weights_sha256 = scorer.model_id, scorer.weights_sha256
        self.width = scorer.embedding_dim
        self.hears = np.arange(self.width)

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        return self._scorer.embed_text(texts)

    def hear(self, waves: Sequence[np.ndarray], sample_rate_hz: int) -> np.ndarray:
        """The first window of each, as the reference crops to 10 s."""
        size = round(self._scorer.window_s * sample_rate_hz)
        heard = (_without_filling(wave)[:size] for wave in waves)
        return self._scorer.embed_audio([resample(wave, sample_rate_hz, self._scorer.sample_rate_hz) for wave in heard])


def _without_filling(wave: np.ndarray) -> np.ndarray:
    """Zeros behind a short clip fill up a batch; a CLAP has its own way with short clips. Silence stays."""
    there = np.trim_zeros(wave, "b")
    return there if there.size else wave
