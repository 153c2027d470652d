"""The recipe's `ytdlp` section, and what it makes of yt-dlp's own options.

Nothing but HTTP(S) is fetched, from addresses that the recipe allows (stages/guard.py), and nothing is run: no external
downloaders, no postprocessors, no browser cookies, no update checks, no cache folder, no file:// addresses, and only
the plugins that the recipe names. yt-dlp's own retries are off: stages/ytdlp_client.py decides what is tried again.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from stages import opt_outs
from stages.ytdlp_formats import choose_format

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class YtdlpOptions:
    """The recipe's `ytdlp` section."""

    plugin_dirs: tuple[str, ...] = ()
    cookies_file: str | None = None
    proxy: str | None = None
    user_agent: str | None = None
    timeout_s: float = 30.0
    retries: int = 3
    backoff_s: float = 2.0
    requests_per_s: float = 1.0
    allow_private_addresses: tuple[str, ...] = ()
    respect_opt_outs: tuple[str, ...] = opt_outs.DEFAULT

    @classmethod
    def from_mapping(cls, section: Mapping[str, Any]) -> YtdlpOptions:
        """From plain values; keys this class does not know are left out."""
        known = {f.name for f in fields(cls)}
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in section.items() if key in known
        }
        return cls(**values)


def ydl_params(options: YtdlpOptions) -> dict[str, Any]:
    """What a YoutubeDL object is made with."""
    params: dict[str, Any] = {
        "quiet": True,
        "no_warnings": True,
        "noprogress": True,
        "color": "no_color",
        "logger": _Quiet(),
        "warn_when_outdated": False,
        "cachedir": False,
        "enable_file_urls": False,
        "geo_bypass": False,
        "noplaylist": True,
        "extract_flat": "in_playlist",
        "playlist_items": "1",
        "format": choose_format,
        # Needed to make extractors list their subtitles; nothing is written without a download.
        "writesubtitles": True,
        "writeautomaticsub": True,
        "external_downloader": {"default": "native"},
        "fixup": "never",
        "updatetime": False,
        "skip_unavailable_fragments": False,
        "socket_timeout": options.timeout_s,
        "retries": 0,
        "extractor_retries": 0,
        "fragment_retries": 0,
        "file_access_retries": 0,
        "proxy": options.proxy,
        # As text, so that yt-dlp does not write the file back, from many threads at once.
        "cookiefile": _cookies(options.cookies_file),
    }
    if options.user_agent:
        params["http_headers"] = {"User-Agent": options.user_agent}
    return params


class _Quiet:
    """yt-dlp talks to `logging` only, in this module's name; expected faults are rows, not warnings."""

    def debug(self, message: str) -> None:
        log.debug("%s", message)

    info = warning = error = debug


def _cookies(path: str | None) -> io.StringIO | None:
    return io.StringIO(Path(path).read_text(encoding="utf-8")) if path else None
