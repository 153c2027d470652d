"""Say in one sentence what is heard in each clip, with the help of its title and visual caption.

- use: caption
  model: embedded
  beams: 2
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
import pyarrow as pa
from annotated_types import Ge, Le, MinLen

from corpus.schema import fields
from stages.base import Ending, Needs, Services, with_columns, with_endings
from stages.models import hear_all, shared_captioner, shared_scorer, vectors

if TYPE_CHECKING:
    from captioner.load import Metadata


@dataclass(kw_only=True)
class Caption:
    """`use_title`, `use_video_caption`, `use_description`: whether the captioner may read them.

    A description is off by default: the paper's captioner reads none, and they are full of links and advertisement.
    `batch` bounds memory, changes nothing.
    """

    model: Annotated[str, MinLen(1)] = "embedded"
    beams: Annotated[int, Ge(1), Le(8)] = 2
    use_title: bool = True
    use_video_caption: bool = True
    use_description: bool = False
    batch: Annotated[int, Ge(1), Le(1024)] = 64

    reads: ClassVar[tuple[str, ...]] = ("audio", "title", "description", "video_caption", "clap_audio_embedding")
    adds: ClassVar[pa.Schema] = fields("caption", "caption_model", "caption_logprob")

    def needs(self) -> Needs:
        return Needs(model=True)

    def open(self, services: Services) -> None:
        from scorer.load import model_name

        self._captioner = shared_captioner(self.model, services.device, services.threads)
        self._own_clap = model_name(shared_scorer("embedded", services.device, services.threads))

    def run(self, clips: pa.Table) -> pa.Table:
        from captioner.load import model_name

        texts: list[str | None] = []
        logprobs: list[float | None] = []
        endings: list[Ending | None] = []
        for first in range(0, clips.num_rows, self.batch):
            part = clips.slice(first, self.batch)
            said, ended = self._say(part)
            texts += [text for text, _ in said]
            logprobs += [logprob for _, logprob in said]
            endings += ended
        names = [model_name(self._captioner) if text is not None else None for text in texts]
        columns = {"caption": texts, "caption_model": names, "caption_logprob": logprobs}
        return with_endings(with_columns(clips, columns, self.adds), endings)

    def _say(self, part: pa.Table) -> tuple[list[tuple[str | None, float | None]], list[Ending | None]]:
        rows, waves, endings = hear_all(part, self._captioner.sample_rate_hz)
        captions = self._captioner.caption(
            waves,
            metadata=[self._metadata(part, row) for row in rows],
            clap_embeddings=self._embeddings(part, rows),
            beams=self.beams,
        )
        said: list[tuple[str | None, float | None]] = [(None, None)] * part.num_rows
        for row, (text, logprob) in zip(rows, captions, strict=True):
            if text:
                said[row] = (text, logprob)
            else:
                endings[row] = Ending("failed", "no_caption", "the captioner said nothing")
        return said, endings

    def _metadata(self, part: pa.Table, row: int) -> Metadata:
        from captioner.load import Metadata

        return Metadata(
            title=(part.column("title")[row].as_py() or "") if self.use_title else "",
            description=(part.column("description")[row].as_py() or "") if self.use_description else "",
            video_caption=(part.column("video_caption")[row].as_py() or "") if self.use_video_caption else "",
        )

    def _embeddings(self, part: pa.Table, rows: list[int]) -> np.ndarray | None:
        """Embed's vectors if they are of the CLAP that the captioner knows; else it makes its own."""
        if "clap_model" not in part.column_names:
            return None
        models = {part.column("clap_model")[row].as_py() for row in rows}
        return vectors(part.column("clap_audio_embedding"), rows) if models == {self._own_clap} else None

    def close(self) -> None:
        """Weights stay with the process: other stages share them."""
