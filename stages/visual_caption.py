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
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import pyarrow as pa
from annotated_types import Ge, Le, MinLen

from corpus.schema import fields
from stages.base import Needs, Services, with_columns
from stages.image_captioner import BLIP, Precision

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from stages.image_captioner import ImageCaptioner


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
        images = {jpeg: image for jpeg in jpegs if (image := _opened(jpeg)) is not None}
        keys = list(images)
        batches = [[images[key] for key in keys[at : at + self.batch]] for at in range(0, len(keys), self.batch)]
        said: list[str] = []
        for pixels in self._prepared(batches):
            said += self._captioner.say(pixels, beams=self.beams, max_tokens=self.max_tokens)
        return dict(zip(keys, said, strict=True))

    def _prepared(self, batches: list[list[Image]]) -> Iterator[torch.Tensor]:
        """Batches as the model wants them. Beside a GPU the next one is prepared while the model works on this one."""
        if not self._ahead:
            yield from map(self._captioner.prepare, batches)
            return
        with ThreadPoolExecutor(1) as preparer:
            following: list[Any] = [preparer.submit(self._captioner.prepare, batch) for batch in batches[:1]]
            for at in range(len(batches)):
                pixels = following.pop().result()
                following += [preparer.submit(self._captioner.prepare, batch) for batch in batches[at + 1 : at + 2]]
                yield pixels

    def close(self) -> None:
        """Weights stay with the process."""


@lru_cache(maxsize=1)
def _shared(
    model: str, device: str, threads: int, precision: Precision | None, weights_sha256: str | None
) -> ImageCaptioner:
    from stages.image_captioner import load_image_captioner

    return load_image_captioner(model, device, threads, precision=precision, weights_sha256=weights_sha256)


def _opened(jpeg: bytes) -> Image | None:
    from stages.images import ImageError, open_image

    try:
        return open_image(jpeg)
    except ImageError:
        return None
