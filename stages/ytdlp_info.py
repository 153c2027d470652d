"""What one extraction and one transcript tell of a video, in our words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stages.media import YtdlpMedia, address_of
from stages.transcript import Transcript
from stages.transcript_tracks import Track

#: What yt-dlp knows of a video beyond the columns, as the reference keeps it (goes to `source_meta`).
META_KEYS = (
    *("upload_date", "view_count", "like_count", "dislike_count", "channel_follower_count"),
    *("channel", "channel_id", "channel_url", "resolution", "fps", "aspect_ratio", "audio_channels"),
    *("tags", "categories", "extractor"),
)


@dataclass(frozen=True, kw_only=True)
class SourceInfo:
    """What one extraction and one transcript tell of a video; `transcript` is None where there is none."""

    media: YtdlpMedia
    url: str
    title: str | None = None
    description: str | None = None
    license: str | None = None
    uploader: str | None = None
    duration_ms: int | None = None
    transcript: Transcript | None = None
    transcript_kind: str = "none"
    transcript_lang: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)


def source_info(url: str, info: Mapping[str, Any], track: Track | None, transcript: Transcript | None) -> SourceInfo:
    """From yt-dlp's answer for the page at `url`, and the transcript that was read of `track`."""
    page = info.get("webpage_url") or url
    return SourceInfo(
        media=YtdlpMedia(url=page, address=address_of(info)),
        url=page,
        title=_title(info),
        description=_text(info.get("description")),
        license=_text(info.get("license")),
        uploader=_text(info.get("uploader")) or _text(info.get("channel")),
        duration_ms=_duration_ms(info.get("duration")),
        transcript=transcript,
        transcript_kind=track.kind if track else "none",
        transcript_lang=track.language if track else None,
        meta={key: info[key] for key in META_KEYS if info.get(key) is not None},
    )


def _title(info: Mapping[str, Any]) -> str | None:
    """The title, without the number that yt-dlp's generic extractor adds to a page's only video."""
    title = _text(info.get("title"))
    return title.removesuffix(" (1)") if title and info.get("extractor") in {"generic", "html5"} else title


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _duration_ms(value: Any) -> int | None:
    if not isinstance(value, (int, float)) or not math.isfinite(value) or value <= 0:
        return None
    return round(value * 1000)
