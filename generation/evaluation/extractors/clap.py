"""A CLAP as an extractor: its clip vectors, and CLAP scores. The embedded one hears classes too, and always runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from generation.evaluation.extractors.face import Embedded
from scorer.embedded import EmbeddedScorer, parts_of
from scorer.load import EMBEDDED, Scorer
from scorer.windows import pool


class Clap:
    """Any scorer: one vector of unit length a clip. It tells no classes, so it gives no IS and no KL."""

    window_s: float | None = None

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer
        self.name = scorer.model_id
        self.weights_sha256 = scorer.weights_sha256
        self.sample_rate_hz, self.dim = scorer.sample_rate_hz, scorer.embedding_dim

    def embed(self, waves: Sequence[np.ndarray]) -> Embedded:
        return Embedded(self.scorer.embed_audio(waves))


class EmbeddedClap(Clap):
    """The small CLAP of this project; its logits are those of the 521 AudioSet classes that its audio tower was taught
    (by YAMNet's answers, not by labels), averaged over the clip. Both come out of one pass.

    It levels every clip to one peak: it does not hear how loud a sound is.
    """

    def __init__(self, scorer: EmbeddedScorer) -> None:
        super().__init__(scorer)
        self.name = EMBEDDED
        self._ears = scorer
        head = {name: value.float().cpu().numpy() for name, value in scorer.class_head().items()}
        self._weight, self._bias = head["weight"], head["bias"]

    def embed(self, waves: Sequence[np.ndarray]) -> Embedded:
        per_clip = [parts_of(wave) for wave in waves]
        tokens, windows = self._ears.hear_windows([part for parts in per_clip for part in parts])
        heard = tokens.mean(axis=1) @ self._weight.T + self._bias
        ends = np.cumsum([len(parts) for parts in per_clip])[:-1]
        vectors = [pool(list(some)) for some in np.split(windows, ends)]
        logits = [some.mean(axis=0) for some in np.split(heard, ends)]
        return Embedded(np.stack(vectors), np.stack(logits))
