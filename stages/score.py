"""How well each caption fits its clip: the dot product of CLAP's two embeddings, with the model's name beside it.

- use: score
  model: embedded
  min_score: auto       # the model's own AutoReCapXL threshold; a number; or left out: score, end nothing
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import numpy as np
import pyarrow as pa
from annotated_types import Ge, Le, MinLen

from corpus.schema import fields
from scorer.load import ClapOptions
from stages.base import Ending, Needs, Services, with_columns, with_endings
from stages.models import shared_scorer, shared_texts


@dataclass(kw_only=True)
class Score:
    """`model` and `clap` must be those that `embed` has. Clips under `min_score` end as filtered / low_clap."""

    model: Annotated[str, MinLen(1)] = "embedded"
    clap: ClapOptions = field(default_factory=ClapOptions)
    min_score: Annotated[float, Ge(-1), Le(1)] | Literal["auto"] | None = None

    reads: ClassVar[tuple[str, ...]] = ("caption", "clap_audio_embedding")
    adds: ClassVar[pa.Schema] = fields("clap_score", "clap_model")

    def needs(self) -> Needs:
        return Needs(model=True)

    def open(self, services: Services) -> None:
        self._scorer = shared_scorer(self.model, services.device, services.threads, self.clap)
        self._texts = shared_texts(self.model, services.device, services.threads, self.clap)
        self._limit = self._scorer.preset_thresholds["AutoReCapXL"] if self.min_score == "auto" else self.min_score

    def run(self, clips: pa.Table) -> pa.Table:
        from scorer.load import model_name

        own = model_name(self._scorer)
        self._refuse_others(clips, own)
        captions = clips.column("caption").to_pylist()
        embeddings = clips.column("clap_audio_embedding").to_pylist()
        rows = [k for k in range(clips.num_rows) if captions[k] and embeddings[k] is not None]
        texts = self._texts.embed([captions[k] for k in rows])
        scores: list[float | None] = [None] * clips.num_rows
        for row, text in zip(rows, texts, strict=True):
            scores[row] = float(np.dot(np.asarray(embeddings[row], dtype=np.float32), text))
        endings = [self._ending(*row) for row in zip(captions, embeddings, scores, strict=True)]
        names = [own if score is not None else None for score in scores]
        clips = with_columns(clips, {"clap_score": scores, "clap_model": names}, self.adds)
        return with_endings(clips, endings)

    def _ending(self, caption: str | None, embedding: object, score: float | None) -> Ending | None:
        if not caption:
            return Ending("failed", "no_caption", "there is no caption to score")
        if embedding is None or score is None:
            return Ending("failed", "no_embedding", "there is no audio embedding to score the caption with")
        if self._limit is not None and score < self._limit:
            return Ending("filtered", "low_clap", f"CLAP score {score:.3f} is under {self._limit:g}")
        return None

    def _refuse_others(self, clips: pa.Table, own: str) -> None:
        """Two models' vectors do not meet in one space: that is a fault of the recipe, not of a clip."""
        if "clap_model" in clips.column_names:
            others = set(clips.column("clap_model").to_pylist()) - {None, own}
            if others:
                raise ValueError(f"score uses {own}, but the embeddings are of {', '.join(sorted(others))}")

    def close(self) -> None:
        """Weights stay with the process: other stages share them."""
