"""CLAP score: how well each sound fits the caption it was made of, by the cosine of a CLAP's two towers.

Numbers of two CLAPs never compare: AudioCaps' own recordings score 0.25 with LAION's and 0.67 with Microsoft's (arXiv
2406.19388, Table 3).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scorer.load import Scorer

_TEXTS_AT_ONCE = 256


def clap_scores(audio: np.ndarray, captions: Sequence[Sequence[str]], scorer: Scorer) -> np.ndarray:
    """`audio` (N, D) of unit length and each clip's captions -> (N,): its mean cosine with them. One or more each."""
    texts = list(dict.fromkeys(text for several in captions for text in several))
    vectors = {
        text: vector
        for first in range(0, len(texts), _TEXTS_AT_ONCE)
        for text, vector in zip(
            texts[first : first + _TEXTS_AT_ONCE],
            scorer.embed_text(texts[first : first + _TEXTS_AT_ONCE]),
            strict=True,
        )
    }
    scores = [
        np.mean([vector @ vectors[text] for text in several]) for vector, several in zip(audio, captions, strict=True)
    ]
    return np.array(scores, dtype=np.float64)
