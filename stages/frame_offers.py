"""What a page offers to see of its video, and which of it to fetch: one thing, with one request.

    offers = offers_of(info)                                   # of yt-dlp's info dictionary
    offers.choose(["video", "storyboard", "thumbnail"], ...)   # Offer, or the reason why there is none

- video: the smallest format with pictures that is one file (HLS and DASH are many requests) and high enough.
- storyboard: the site's own small pictures of the video, tiles of a few large images (YouTube's `sb*` formats).
- thumbnail: the smallest picture of the source that is wide enough; the same for all its clips.

Fetching a source's audio may have extracted its page a moment ago: `remember` and `recall` keep what it offered, in
this process, so that the page is asked once.

A frame may be missing for a reason of stages/faults.py, or:

| reason | what happened |
|---|---|
| `has_caption` | the source brings a visual caption: no frame was wanted |
| `no_video` | a local file without moving pictures |
| `not_offered` | the page offers nothing of what the recipe takes, within its bounds |
| `no_tile` | the storyboard has no picture of that time |
| `bad_image` | what was fetched is no picture, or a damaged one |
| `too_large` | a picture or video beyond the bounds |
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from stages.media import Address, address_of

Kind = Literal["video", "storyboard", "thumbnail"]

#: Storyboards of more images than this are not looked at.
MAX_PAGES = 64
#: A thumbnail is wide enough from here on.
THUMBNAIL_MIN_WIDTH_PX = 320
#: How many pages `recall` knows.
REMEMBERED = 256


@dataclass(frozen=True, kw_only=True)
class Video:
    """A format with pictures. `size_bytes` may be an estimate."""

    address: Address
    height_px: int | None
    size_bytes: float | None


@dataclass(frozen=True, kw_only=True)
class Storyboard:
    """Images of `columns` x `rows` tiles each, in reading order; `tiles_per_s` of them for a second of video."""

    urls: tuple[str, ...]
    columns: int
    rows: int
    width_px: int  # of a tile
    height_px: int
    tiles_per_s: float
    http_headers: Mapping[str, str] = field(default_factory=dict)

    def place(self, time_ms: int) -> tuple[int, tuple[int, int, int, int]]:
        """The image that shows this time, and the tile's box in it: left, upper, right, lower."""
        tile = int(time_ms / 1000 * self.tiles_per_s)
        page, at = divmod(tile, self.columns * self.rows)
        row, column = divmod(at, self.columns)
        left, upper = column * self.width_px, row * self.height_px
        return page, (left, upper, left + self.width_px, upper + self.height_px)


@dataclass(frozen=True, kw_only=True)
class Thumbnail:
    """A picture of the source."""

    url: str
    width_px: int | None = None
    http_headers: Mapping[str, str] = field(default_factory=dict)


Offer = Video | Storyboard | Thumbnail


@dataclass(frozen=True, kw_only=True)
class Offers:
    """All that a page offers; thumbnails from worst to best."""

    videos: tuple[Video, ...] = ()
    storyboards: tuple[Storyboard, ...] = ()
    thumbnails: tuple[Thumbnail, ...] = ()

    def choose(
        self, take: Sequence[Kind], *, min_height_px: int, storyboard_pages: int, max_video_bytes: float
    ) -> Offer | None:
        """The first kind of `take` that there is. Nothing is fetched in place of what turns out to be gone."""
        chosen: Offer | None = None
        for kind in take:
            if kind == "video":
                chosen = _smallest(self.videos, min_height_px, max_video_bytes)
            elif kind == "storyboard":
                chosen = _clearest(self.storyboards, min_height_px, storyboard_pages)
            else:
                chosen = _plainest(self.thumbnails)
            if chosen is not None:
                break
        return chosen


def _smallest(videos: Iterable[Video], min_height_px: int, max_bytes: float) -> Video | None:
    """The fewest bytes among those high enough; the highest one where none is."""
    fitting = [video for video in videos if video.size_bytes is None or video.size_bytes <= max_bytes]
    high = [video for video in fitting if (video.height_px or 0) >= min_height_px]
    if high:
        return min(high, key=lambda video: (video.size_bytes or math.inf, video.height_px or 0))
    return max(fitting, key=lambda video: video.height_px or 0, default=None)


def _clearest(storyboards: Iterable[Storyboard], min_height_px: int, pages: int) -> Storyboard | None:
    """The largest tiles among those that are few enough images."""
    fitting = [board for board in storyboards if len(board.urls) <= pages and board.height_px >= min_height_px]
    return max(fitting, key=lambda board: board.height_px, default=None)


def _plainest(thumbnails: Sequence[Thumbnail]) -> Thumbnail | None:
    """The smallest that is known to be wide enough; else the one that yt-dlp holds for the best."""
    wide = [picture for picture in thumbnails if (picture.width_px or 0) >= THUMBNAIL_MIN_WIDTH_PX]
    if wide:
        return min(wide, key=lambda picture: picture.width_px or 0)
    return thumbnails[-1] if thumbnails else None


def offers_of(info: Mapping[str, Any]) -> Offers:
    """From what yt-dlp extracted. Formats that are encrypted, or come with odd values, are left out."""
    formats = [item for item in info.get("formats") or [info] if isinstance(item, Mapping) and not item.get("has_drm")]
    duration_s = _positive(info.get("duration"))
    return Offers(
        videos=tuple(video for item in formats if (video := _video(item, duration_s))),
        storyboards=tuple(board for item in formats if (board := _storyboard(item, duration_s))),
        thumbnails=tuple(picture for item in info.get("thumbnails") or [] if (picture := _thumbnail(item))),
    )


def _video(item: Mapping[str, Any], duration_s: float | None) -> Video | None:
    one_file = item.get("protocol") in ("http", "https")
    address = address_of(item) if one_file and item.get("vcodec") not in (None, "none") else None
    if address is None:
        return None
    kbit_per_s = _positive(item.get("tbr"))
    by_rate = kbit_per_s * 125 * duration_s if kbit_per_s and duration_s else None
    size_bytes = _positive(item.get("filesize")) or _positive(item.get("filesize_approx")) or by_rate
    return Video(address=address, height_px=_whole(item.get("height")), size_bytes=size_bytes)


def _storyboard(item: Mapping[str, Any], duration_s: float | None) -> Storyboard | None:
    fragments = item.get("fragments")
    if item.get("protocol") != "mhtml" or not isinstance(fragments, Sequence) or not 0 < len(fragments) <= MAX_PAGES:
        return None
    urls = tuple(url for part in fragments if isinstance(part, Mapping) and (url := _web(part.get("url"))))
    columns, rows, width, height = (_whole(item.get(name)) for name in ("columns", "rows", "width", "height"))
    if len(urls) != len(fragments) or not (columns and rows and width and height):
        return None
    tiles_per_s = _positive(item.get("fps")) or (len(urls) * columns * rows / duration_s if duration_s else None)
    if tiles_per_s is None:
        return None
    return Storyboard(
        urls=urls, columns=columns, rows=rows, width_px=width, height_px=height, tiles_per_s=tiles_per_s,
        http_headers=_headers(item),
    )  # fmt: skip


def _thumbnail(item: Any) -> Thumbnail | None:
    url = _web(item.get("url")) if isinstance(item, Mapping) else None
    if url is None:
        return None
    return Thumbnail(url=url, width_px=_whole(item.get("width")), http_headers=_headers(item))


def _headers(item: Mapping[str, Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in (item.get("http_headers") or {}).items()}


def _web(url: Any) -> str | None:
    return url if isinstance(url, str) and url.startswith(("https://", "http://")) else None


def _positive(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value <= 0:
        return None
    return float(value)


def _whole(value: Any) -> int | None:
    number = _positive(value)
    return int(number) if number and number < 100_000 else None


_found: OrderedDict[str, Offers] = OrderedDict()


def remember(page_url: str, info: Mapping[str, Any]) -> None:
    """Keep what a page offered, for `recall`."""
    _found[page_url] = offers_of(info)
    _found.move_to_end(page_url)
    while len(_found) > REMEMBERED:
        _found.popitem(last=False)


def recall(page_url: str) -> Offers | None:
    """What `remember` kept of the page; taken out, so that no address outlives its use."""
    return _found.pop(page_url, None)
