"""Take one small picture of each clip, for the image captioner (stages/visual_caption.py): the leg that has media.

    - use: frame
      take: [video, storyboard, thumbnail]
      min_height_px: 90
      storyboard_pages: 1

Media that is here and holds video (a local file, or a page whose only formats have both) gives the frame in the middle
of the clip, and costs no request. Else one thing is fetched per source, the first of `take` that its page offers: see
stages/frame_offers.py. Clips whose source brings a visual caption of its own get no frame.

No clip ends here. `frame_jpeg` is null where there is no picture, and `frame_reason` says why.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple

import pyarrow as pa
from annotated_types import Ge, Gt, Le, MinLen

from corpus.schema import fields
from stages import ranged_fetch
from stages.base import Needs, Services, with_columns
from stages.cache import MediaCache
from stages.frame_offers import Kind
from stages.media import YtdlpMedia, from_json
from stages.ytdlp_client import YtdlpClient
from stages.ytdlp_options import YtdlpOptions

if TYPE_CHECKING:
    from PIL.Image import Image


class Shot(NamedTuple):
    """What came of one clip: a JPEG and where it is from, or a reason."""

    jpeg: bytes | None = None
    kind: str | None = None
    reason: str | None = None


@dataclass(kw_only=True)
class Frame:
    """`min_height_px`: of the video format or the storyboard's tiles. `storyboard_pages`: images, one request each."""

    take: Annotated[tuple[Kind, ...], MinLen(1)] = ("video", "storyboard", "thumbnail")
    min_height_px: Annotated[int, Ge(1), Le(4320)] = 90
    storyboard_pages: Annotated[int, Ge(1), Le(64)] = 1
    max_side_px: Annotated[int, Ge(32), Le(1024)] = 384
    max_video_mb: Annotated[float, Gt(0)] = 256.0
    max_download_s: Annotated[float, Gt(0)] = 600.0

    reads: ClassVar[tuple[str, ...]] = ("source_id", "media", "media_path", "start_ms", "end_ms", "video_caption")
    adds: ClassVar[pa.Schema] = fields("frame_jpeg", "frame_kind", "frame_reason")

    def needs(self) -> Needs:
        return Needs(cpus=1.0)

    def open(self, services: Services) -> None:
        self._cache = MediaCache(services.cache_dir, "frame")
        self._options = YtdlpOptions.from_mapping(services.ytdlp)
        self._services = services
        self._client: YtdlpClient | None = None

    def run(self, clips: pa.Table) -> pa.Table:
        rows = clips.select(list(self.reads)).to_pylist()
        shots = [Shot(reason="has_caption")] * len(rows)
        for places in _by_source(rows):
            for at, shot in zip(places, self._shoot([rows[at] for at in places]), strict=True):
                shots[at] = shot
        columns = {
            "frame_jpeg": [shot.jpeg for shot in shots],
            "frame_kind": [shot.kind for shot in shots],
            "frame_reason": [shot.reason for shot in shots],
        }
        return with_columns(clips, columns, self.adds)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _shoot(self, rows: list[dict[str, Any]]) -> list[Shot]:
        """The shots of one source's rows."""
        from stages.frame_files import pictures_of, video_pictures

        middles_ms = [(row["start_ms"] + row["end_ms"]) // 2 for row in rows]
        kind: str | None = "media"
        path = Path(rows[0]["media_path"])
        # Of media fetched by ranges only the sound's bytes are here.
        pictures = None if path.name == ranged_fetch.NAME else video_pictures(path, middles_ms, self.max_side_px)
        if pictures is None:
            media = from_json(rows[0]["media"])
            if not isinstance(media, YtdlpMedia):
                return [Shot(reason="no_video")] * len(rows)
            kept = self._cache.get(rows[0]["source_id"], lambda folder: self._fetch(media, folder))
            kind, pictures = pictures_of(kept, middles_ms, self.max_side_px)
        made: dict[int, bytes] = {}
        return [self._shot(kind, picture, made) for picture in pictures]

    def _shot(self, kind: str | None, picture: Image | str, made: dict[int, bytes]) -> Shot:
        """`made`: the JPEGs of pictures seen before; a thumbnail is packed once for all its clips."""
        from stages.images import to_jpeg

        if isinstance(picture, str):
            return Shot(reason=picture)
        jpeg = made.get(id(picture)) or to_jpeg(picture, self.max_side_px)
        made[id(picture)] = jpeg
        return Shot(jpeg, kind)

    def _fetch(self, media: YtdlpMedia, folder: Path) -> Path:
        """What frames of this source are taken from, or the file that says why there is nothing."""
        from stages.faults import Fault
        from stages.frame_files import fetch_offer, nothing

        if self._client is None:
            self._client = YtdlpClient(self._options, governor=self._services.governor, watch=self._services.watch)
        max_bytes = int(self.max_video_mb * 1_000_000)
        try:
            offer = self._client.frame_offers(media.url).choose(
                self.take,
                min_height_px=self.min_height_px,
                storyboard_pages=self.storyboard_pages,
                max_video_bytes=max_bytes,
            )
            if offer is None:
                return nothing(folder, "not_offered")
            return fetch_offer(self._client, offer, folder, max_video_bytes=max_bytes, max_s=self.max_download_s)
        except Fault as fault:
            return nothing(folder, fault.reason)


def _by_source(rows: list[dict[str, Any]]) -> list[list[int]]:
    """Places of the rows that want a frame, source by source."""
    places: dict[str, list[int]] = {}
    for at, row in enumerate(rows):
        if not (row["video_caption"] or "").strip():
            places.setdefault(row["source_id"], []).append(at)
    return list(places.values())
