"""How the media of a source is reached: what the plan's `media` column says, as JSON.

    {"kind": "file", "path": "/sounds/rain.ogg"}              a local path or an fsspec URL
    {"kind": "ytdlp", "url": "https://.../watch?v=...",       the page, for a new extraction
     "address": {"url": ..., "expires_s": 1790000000, ...}}   the media found when planning, or null

An address saves the run one extraction a source while it is still valid. It may be signed: it is kept in
the plan only, without cookies, and `expires_s` (Unix time) is read off it where sites write it there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

#: Headers that identify a person or session: they stay in the process that got them.
SECRET_HEADERS = frozenset({"cookie", "authorization", "proxy-authorization", "x-forwarded-for"})
#: The key of yt-dlp's answer under which its session's name is noted, where a recipe has several.
FOUND_BY = "autorecap_session"
#: Protocols whose address is one URL. DASH has a list of fragments instead: it is extracted anew.
ONE_URL_PROTOCOLS = frozenset({"http", "https", "m3u8", "m3u8_native"})


@dataclass(frozen=True, kw_only=True)
class Address:
    """The media itself, as yt-dlp's downloader wants it."""

    url: str
    format_id: str
    ext: str
    protocol: str
    http_headers: dict[str, str] = field(default_factory=dict)
    http_chunk_size: int | None = None
    expires_s: int | None = None
    size_bytes: int | None = None  # as the page has it: it may be an estimate
    duration_ms: int | None = None
    session: str | None = None  # the session that found it: sites bind addresses to the caller's own

    def valid_at(self, now_s: float, margin_s: float = 60.0) -> bool:
        """Whether it is worth trying; an address that does not say when it ends is."""
        return self.expires_s is None or now_s + margin_s < self.expires_s

    def as_info(self) -> dict[str, Any]:
        """The part of yt-dlp's info dictionary that its downloader reads."""
        options = {"http_chunk_size": self.http_chunk_size} if self.http_chunk_size else {}
        return {
            "id": "media",
            "url": self.url,
            "format_id": self.format_id,
            "ext": self.ext,
            "protocol": self.protocol,
            "http_headers": dict(self.http_headers),
            "downloader_options": options,
        }


@dataclass(frozen=True, kw_only=True)
class YtdlpMedia:
    """A page that yt-dlp extracts, and perhaps the address it found there."""

    url: str
    address: Address | None = None


@dataclass(frozen=True, kw_only=True)
class FileMedia:
    """A local file by its absolute path, or an object by its fsspec URL."""

    path: str


Media = YtdlpMedia | FileMedia


def to_json(media: Media) -> str:
    """The text of the `media` column; the same media gives the same text."""
    kind = "file" if isinstance(media, FileMedia) else "ytdlp"
    return json.dumps({"kind": kind, **asdict(media)}, sort_keys=True, ensure_ascii=False)


def page_json(url: str) -> str:
    """`to_json` of a page without an address, for pages by the million."""
    return f'{{"address": null, "kind": "ytdlp", "url": {orjson.dumps(url).decode()}}}'


def from_json(text: str) -> Media:
    """The media a plan's row names; ValueError when the text is none."""
    tree = json.loads(text)
    kind = tree.pop("kind", None) if isinstance(tree, dict) else None
    try:
        if kind == "file":
            return FileMedia(**tree)
        if kind == "ytdlp":
            address = tree.pop("address", None)
            return YtdlpMedia(**tree, address=Address(**address) if address else None)
    except TypeError as error:
        raise ValueError(f"media of kind {kind!r} has other keys than it should: {error}") from error
    raise ValueError(f"media must be of kind file or ytdlp, not {kind!r}")


def address_of(info: Mapping[str, Any]) -> Address | None:
    """The address to keep of an extracted video, or None when it is not one URL."""
    url, protocol = info.get("url"), str(info.get("protocol") or "")
    if not isinstance(url, str) or protocol not in ONE_URL_PROTOCOLS or info.get("request_data"):
        return None
    headers = {str(k): str(v) for k, v in (info.get("http_headers") or {}).items()}
    chunk_size = (info.get("downloader_options") or {}).get("http_chunk_size")
    return Address(
        url=url,
        format_id=str(info.get("format_id") or ""),
        ext=str(info.get("ext") or ""),
        protocol=protocol,
        http_headers=_own_headers(headers),
        http_chunk_size=chunk_size if isinstance(chunk_size, int) else None,
        expires_s=expiry_s(url),
        size_bytes=_positive(info.get("filesize") or info.get("filesize_approx")),
        duration_ms=_positive(info.get("duration"), 1000),
        session=info.get(FOUND_BY),
    )


def _positive(value: Any, times: int = 1) -> int | None:
    """A page's number as a whole one; None for what is none, or none of this world."""
    if isinstance(value, (int, float)) and 0 < value < 1e15:  # NaN is not, either
        return round(value * times)
    return None


def _own_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that this address asks for: no secrets, and not those that yt-dlp sends with every request.

    Among the latter is a browser's name that yt-dlp draws anew in each process: kept, it would make every plan differ.
    """
    from yt_dlp.utils.networking import std_headers

    return {
        name: value
        for name, value in sorted(headers.items())
        if name.lower() not in SECRET_HEADERS and std_headers.get(name) != value
    }


def expiry_s(url: str) -> int | None:
    """When a signed URL ends, in Unix seconds: `expire=`, `expires=` or `Expires=` with such a number."""
    query = parse_qs(urlsplit(url).query)
    for name in ("expire", "expires", "Expires"):
        for value in query.get(name, []):
            if re.fullmatch(r"[1-9]\d{9}", value):
                return int(value)
    return None
