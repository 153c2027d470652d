"""Captions repeat: each distinct text is embedded once and kept, least used first out.

Sound only because a scorer's vector for a text does not depend on the other texts of the call (scorer.load.Scorer).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from scorer.load import Scorer


class TextCache:
    """`limit` texts are kept: 20,000 of 512 dimensions are 40 MB."""

    def __init__(self, scorer: Scorer, limit: int = 20_000) -> None:
        self._scorer, self._limit = scorer, limit
        self._kept: OrderedDict[str, np.ndarray] = OrderedDict()

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """(B, D) float32, as the scorer's `embed_text`."""
        new = [text for text in dict.fromkeys(texts) if text not in self._kept]
        fresh = dict(zip(new, self._scorer.embed_text(new), strict=True))
        rows = [fresh[text] if text in fresh else self._kept[text] for text in texts]
        for text in texts:
            if text in fresh:
                self._kept[text] = fresh[text]
            self._kept.move_to_end(text)
        while len(self._kept) > self._limit:
            self._kept.popitem(last=False)
        return np.stack(rows) if rows else np.zeros((0, self._scorer.embedding_dim), dtype=np.float32)
