"""Which of a page's formats is fetched."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

#: Protocols that nobody here speaks.
_NOT_HTTP = ("mhtml", "rtmp", "rtsp", "mms", "ws", "f4m")


def choose_format(context: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The best format that is audio alone; else the smallest with sound; else any, which says it has none."""
    formats = [f for f in context["formats"] if not str(f.get("protocol") or "").startswith(_NOT_HTTP)]
    with_sound = [f for f in formats if f.get("acodec") != "none"]
    audio_only = [f for f in with_sound if f.get("vcodec") == "none"]
    if audio_only:
        yield audio_only[-1]  # yt-dlp sorts them from worst to best
    elif with_sound:
        yield min(with_sound, key=_size)
    else:
        yield from formats[:1]


def _size(media_format: Mapping[str, Any]) -> float:
    for key in ("filesize", "filesize_approx", "tbr"):
        value = media_format.get(key)
        if isinstance(value, (int, float)) and value > 0:
            return float(value)
    return math.inf
