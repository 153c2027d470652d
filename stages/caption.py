"""Say in one sentence what is heard in each clip, with the help of its title and visual caption.

- use: caption
  model: embedded        # or an AutoCap: autocap-full.ckpt, a folder or Hub repository with it, or one trained here
  beams: 2
  autocap: {clap: /models/music_speech_audioset_epoch_15_esc_89.98.pt, bart: facebook/bart-base}
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
import pyarrow as pa
from annotated_types import Ge, Le, MinLen

from captioner.load import CaptionerOptions
from corpus.schema import fields
from stages.base import Ending, Needs, Services, with_columns, with_endings
from stages.hearing import heard_batches
from stages.models import shared_captioner, vectors

if TYPE_CHECKING:
    from captioner.load import Captioned, Metadata


@dataclass(kw_only=True)
class Caption:
    """`use_title`, `use_video_caption`, `use_description`: whether the captioner may read them.

    A description is off by default: the paper's captioner reads none, and they are full of links and advertisement.
    `batch` bounds memory, changes nothing. `autocap`: how a published AutoCap is run (captioner/load.py).
    """

    model: Annotated[str, MinLen(1)] = "embedded"
    beams: Annotated[int, Ge(1), Le(8)] = 2
    use_title: bool = True
    use_video_caption: bool = True
    use_description: bool = False
    batch: Annotated[int, Ge(1), Le(1024)] = 64
    autocap: CaptionerOptions = field(default_factory=CaptionerOptions)

    reads: ClassVar[tuple[str, ...]] = ("audio", "title", "description", "video_caption", "clap_audio_embedding")
    adds: ClassVar[pa.Schema] = fields("caption", "caption_model", "caption_logprob")

    def needs(self) -> Needs:
        return Needs(model=True)

    def open(self, services: Services) -> None:
        self._captioner = shared_captioner(self.model, services.device, services.threads, self.autocap)
        self._ahead = services.device != "cpu"

    def run(self, clips: pa.Table) -> pa.Table:
        from captioner.load import model_name

        texts: list[str | None] = [None] * clips.num_rows
        logprobs: list[float | None] = [None] * clips.num_rows
        endings: list[Ending | None] = []
        batches = heard_batches(clips, self.batch, self._captioner.sample_rate_hz, ahead=self._ahead)
        for first, (rows, waves, ended) in batches:
            endings += ended
            for row, said in self._say(clips, [first + row for row in rows], waves, endings):
                texts[row], logprobs[row] = said
        names = [model_name(self._captioner) if text is not None else None for text in texts]
        columns = {"caption": texts, "caption_model": names, "caption_logprob": logprobs}
        return with_endings(with_columns(clips, columns, self.adds), endings)

    def _say(
        self, clips: pa.Table, rows: list[int], waves: list[np.ndarray], endings: list[Ending | None]
    ) -> Iterator[tuple[int, Captioned]]:
        """Rows with their captions; an ending where there is none."""
        short = self._captioner.min_samples
        heard = [(row, wave) for row, wave in zip(rows, waves, strict=True) if wave.size >= short]
        for row in set(rows) - {row for row, _ in heard}:
            endings[row] = Ending("failed", "no_audio", f"the captioner needs {short} samples")
        if not heard:
            return
        rows = [row for row, _ in heard]
        captions = self._captioner.caption(
            [wave for _, wave in heard],
            metadata=[self._metadata(clips, row) for row in rows],
            clap_embeddings=self._embeddings(clips, rows),
            beams=self.beams,
        )
        for row, said in zip(rows, captions, strict=True):
            if said.text:
                yield row, said
            else:
                endings[row] = Ending("failed", "no_caption", "the captioner said nothing")

    def _metadata(self, part: pa.Table, row: int) -> Metadata:
        from captioner.load import Metadata

        return Metadata(
            title=(part.column("title")[row].as_py() or "") if self.use_title else "",
            description=(part.column("description")[row].as_py() or "") if self.use_description else "",
            video_caption=(part.column("video_caption")[row].as_py() or "") if self.use_video_caption else "",
        )

    def _embeddings(self, clips: pa.Table, rows: list[int]) -> np.ndarray | None:
        """Embed's vectors if they are of the CLAP that the captioner knows; else it makes its own."""
        if "clap_model" not in clips.column_names:
            return None
        models = {clips.column("clap_model")[row].as_py() for row in rows}
        wanted = self._captioner.clap_name
        if models != {wanted} and not (wanted is None and len(models) == 1):
            return None
        return vectors(clips.column("clap_audio_embedding"), rows)

    def close(self) -> None:
        """Weights stay with the process: other stages share them."""
