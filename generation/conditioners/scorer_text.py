"""The text tower of a CLAP (scorer/load.py): the small embedded one, a ClapModel of transformers, LAION's files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scorer.load import Scorer


class ScorerText:
    """A scorer's texts as a conditioner: unit vectors, one for each text whatever the others are."""

    independent = True

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self.name, self.weights_sha256 = scorer.model_id, scorer.weights_sha256
        self.width = scorer.embedding_dim

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        return self._scorer.embed_text(texts)
