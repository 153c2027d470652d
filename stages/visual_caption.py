"""Say what is seen in each clip's frame, for the captioner that hears its sound: `video_caption`, where none is there.

    - use: visual_caption
      model: Salesforce/blip-image-captioning-base
      beams: 3

The pictures are those of stages/frame.py. A visual caption that the source brought is kept as it is, and a clip
without a frame stays without one. `video_caption_model` says who wrote it; null where the source did.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Annotated, ClassVar

import pyarrow as pa
from annotated_types import Ge, Le, MinLen

from corpus.schema import fields
from stages.base import Needs, Services, with_columns
from stages.image_captioner import BLIP, Precision

if TYPE_CHECKING:
    import torch

    from stages.image_captioner import ImageCaptioner

#: Threads that open and shrink pictures beside a GPU: 4 ms a picture each.
HANDS = 4


@dataclass(kw_only=True)
class VisualCaption:
    """`model`, `precision`, `weights_sha256`: see load_image_captioner. `batch`: pictures of one pass."""

    model: Annotated[str, MinLen(1)] = BLIP
    weights_sha256: str | None = None
    beams: Annotated[int, Ge(1), Le(8)] = 3
    max_tokens: Annotated[int, Ge(4), Le(64)] = 20
    precision: Precision | None = None
    batch: Annotated[int, Ge(1), Le(1024)] = 64

    reads: ClassVar[tuple[str, ...]] = ("video_caption", "frame_jpeg")
    adds: ClassVar[pa.Schema] = fields("video_caption", "video_caption_model")

    def needs(self) -> Needs:
        return Needs(model=True)

    def open(self, services: Services) -> None:
        self._captioner = _shared(self.model, services.device, services.threads, self.precision, self.weights_sha256)
        self._ahead = services.device != "cpu"

    def run(self, clips: pa.Table) -> pa.Table:
        texts = clips.column("video_caption").to_pylist()
        jpegs = clips.column("frame_jpeg").to_pylist()
        wanted = [at for at, jpeg in enumerate(jpegs) if jpeg and not (texts[at] or "").strip()]
        seen = self._captions(list(dict.fromkeys(jpegs[at] for at in wanted)))  # a thumbnail is looked at once
        names: list[str | None] = [None] * clips.num_rows
        for at in wanted:
            if text := seen.get(jpegs[at]):
                texts[at], names[at] = text, self._captioner.name
        return with_columns(clips, {"video_caption": texts, "video_caption_model": names}, self.adds)

    def _captions(self, jpegs: list[bytes]) -> dict[bytes, str]:
        """What each picture shows; nothing of those that cannot be opened."""
        said: dict[bytes, str] = {}
        for keys, pixels in self._batches(jpegs):
            texts = self._captioner.say(pixels, beams=self.beams, max_tokens=self.max_tokens)
            said.update(zip(keys, texts, strict=True))
        return said

    def _batches(self, jpegs: list[bytes]) -> Iterator[tuple[list[bytes], torch.Tensor]]:
        """Pictures as the model wants them. Beside a GPU, later ones are prepared while it works on these."""
        import torch

        with ThreadPoolExecutor(HANDS) if self._ahead else nullcontext() as pool:
            prepared = pool.map(self._prepare, jpegs) if pool else map(self._prepare, jpegs)
            good = ((jpeg, pixels) for jpeg, pixels in zip(jpegs, prepared, strict=True) if pixels is not None)
            while batch := list(islice(good, self.batch)):
                yield [jpeg for jpeg, _ in batch], torch.cat([pixels for _, pixels in batch])

    def _prepare(self, jpeg: bytes) -> torch.Tensor | None:
        from stages.images import ImageError, open_image

        try:
            return self._captioner.prepare([open_image(jpeg)])
        except ImageError:
            return None

    def close(self) -> None:
        """Weights stay with the process."""


@lru_cache(maxsize=1)
def _shared(
    model: str, device: str, threads: int, precision: Precision | None, weights_sha256: str | None
) -> ImageCaptioner:
    from stages.image_captioner import load_image_captioner

    return load_image_captioner(model, device, threads, precision=precision, weights_sha256=weights_sha256)
