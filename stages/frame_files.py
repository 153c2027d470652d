"""What of a source is kept on the node to take frames from, until its units are committed: one file, made once.

    frame.video    the smallest video              frame.image    the thumbnail
    frame.tiles    a storyboard: JSON, its images in base64        frame.none     the reason why there is nothing: JSON

It lies beside the source's audio (stages/cache.py). That nothing could be had is kept as well: neither a crash nor the
source's other units ask the site again.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audio.faults import DecodeError
from stages.frame_offers import Offer, Storyboard, Video
from stages.images import MAX_IMAGE_BYTES, ImageError, open_image
from stages.video_frames import NoVideo, VideoFrames

if TYPE_CHECKING:
    from PIL.Image import Image

    from stages.ytdlp_client import YtdlpClient


#: Of one image of a storyboard.
MAX_PAGE_BYTES = 2_000_000


def fetch_offer(client: YtdlpClient, offer: Offer, folder: Path, *, max_video_bytes: int, max_s: float) -> Path:
    """The offer's file, made in `folder`. Raises Fault."""
    if isinstance(offer, Video):
        made = client.download_video(offer.address, folder, max_bytes=max_video_bytes, max_s=max_s)
        return made.rename(folder / "frame.video")
    if isinstance(offer, Storyboard):
        pages = [client.read_image(url, offer.http_headers, MAX_PAGE_BYTES) for url in offer.urls]
        kept = {**asdict(replace(offer, http_headers={})), "pages": [base64.b64encode(p).decode() for p in pages]}
        return _written(folder / "frame.tiles", json.dumps(kept).encode())
    return _written(folder / "frame.image", client.read_image(offer.url, offer.http_headers, MAX_IMAGE_BYTES))


def nothing(folder: Path, reason: str) -> Path:
    """The file that says why there is no frame."""
    return _written(folder / "frame.none", json.dumps({"reason": reason}).encode())


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def pictures_of(path: Path, times_ms: list[int], max_side_px: int) -> tuple[str | None, list[Image | str]]:
    """The kind of a kept file, and for each time its picture or why there is none. Sides are bounded roughly."""
    if path.suffix == ".video":
        found = video_pictures(path, times_ms, max_side_px)
        return "video", ["no_video"] * len(times_ms) if found is None else found
    if path.suffix == ".tiles":
        return "storyboard", _tiles(json.loads(path.read_text()), times_ms)
    if path.suffix == ".image":
        return "thumbnail", [_opened(path.read_bytes(), max_side_px)] * len(times_ms)
    return None, [str(json.loads(path.read_text())["reason"])] * len(times_ms)


def video_pictures(path: Path, times_ms: list[int], max_side_px: int) -> list[Image | str] | None:
    """The frames of a video file at these times; None where the file holds no video."""
    try:
        with VideoFrames(path, max_side_px) as video:
            found: dict[int, Image | str] = {}
            for time_ms in sorted(set(times_ms)):
                try:
                    found[time_ms] = video.at(time_ms)
                except DecodeError as error:
                    found[time_ms] = error.reason
    except NoVideo:
        return None
    except DecodeError as error:
        if not path.exists():  # taken away since it was fetched: no clip's fault, the unit is tried again
            raise FileNotFoundError(f"{path} was there when it was fetched and is gone") from error
        return [error.reason] * len(times_ms)
    return [found[time_ms] for time_ms in times_ms]


def _tiles(kept: dict[str, Any], times_ms: list[int]) -> list[Image | str]:
    pages = kept.pop("pages")
    board = Storyboard(**kept)

    @lru_cache(maxsize=1)  # times ascend, mostly: one image at a time is unpacked
    def page(at: int) -> Image | str:
        return _opened(base64.b64decode(pages[at])) if at < len(pages) else "no_tile"

    return [_tile(page, *board.place(time_ms)) for time_ms in times_ms]


def _tile(page_at: Callable[[int], Image | str], at: int, box: tuple[int, int, int, int]) -> Image | str:
    page = page_at(at)
    if isinstance(page, str):
        return page
    return page.crop(box) if box[2] <= page.width and box[3] <= page.height else "no_tile"


def _opened(data: bytes, near_px: int | None = None) -> Image | str:
    try:
        return open_image(data, near_px)
    except ImageError as error:
        return error.reason
