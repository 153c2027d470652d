"""Hear each clip once: its CLAP audio embedding, for the captioner, for joins, for the score and for search.

- use: embed
  model: embedded        # or a ClapModel (folder or Hub name), or one of LAION's .pt files
  clap: {tokenizer: /models/roberta-base, weights_sha256: 51c68f12f9d7…}
  keep: true
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import pyarrow as pa
from annotated_types import Ge, Le, MinLen

from corpus.schema import fields
from scorer.load import ClapOptions
from stages.base import Needs, Services, with_columns, with_endings
from stages.hearing import heard_batches
from stages.models import shared_scorer


@dataclass(kw_only=True)
class Embed:
    """`model` and `clap`: see scorer.load.load_scorer and ClapOptions. `keep`: commit the embedding as a column.

    `batch`: clips decoded at a time. It bounds memory and changes no number.
    """

    model: Annotated[str, MinLen(1)] = "embedded"
    clap: ClapOptions = field(default_factory=ClapOptions)
    keep: bool = False
    batch: Annotated[int, Ge(1), Le(1024)] = 64

    reads: ClassVar[tuple[str, ...]] = ("audio",)
    adds: ClassVar[pa.Schema] = fields("clap_audio_embedding", "clap_model")

    @property
    def transient(self) -> tuple[str, ...]:
        """Columns of `adds` that live only while the leg runs."""
        return () if self.keep else ("clap_audio_embedding",)

    def needs(self) -> Needs:
        return Needs(model=True)

    def open(self, services: Services) -> None:
        self._scorer = shared_scorer(self.model, services.device, services.threads, self.clap)
        self._ahead = services.device != "cpu"

    def run(self, clips: pa.Table) -> pa.Table:
        from scorer.load import model_name

        embeddings: list[object] = [None] * clips.num_rows
        endings = []
        batches = heard_batches(clips, self.batch, self._scorer.sample_rate_hz, ahead=self._ahead)
        for first, (rows, waves, ended) in batches:
            endings += ended
            for row, vector in zip(rows, self._scorer.embed_audio(waves), strict=True):
                embeddings[first + row] = vector
        names = [model_name(self._scorer) if e is not None else None for e in embeddings]
        clips = with_columns(clips, {"clap_audio_embedding": embeddings, "clap_model": names}, self.adds)
        return with_endings(clips, endings)

    def close(self) -> None:
        """Weights stay with the process: other stages share them."""
