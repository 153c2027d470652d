"""The recipe's `ytdlp` section, and what it makes of yt-dlp's own options.

Nothing but HTTP(S) is fetched, from addresses that the recipe allows (stages/guard.py), and nothing is run: no external
downloaders, no postprocessors, no browser cookies, no update checks, no cache folder, no file:// addresses, and only
the plugins that the recipe names. yt-dlp's own retries are off: stages/ytdlp_client.py decides what is tried again.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from stages import opt_outs
from stages.gate import Rules
from stages.secrets import Mask
from stages.ytdlp_formats import choose_format

log = logging.getLogger(__name__)

#: The session of a recipe that lists none.
DEFAULT_SESSION = "default"


@dataclass(frozen=True, kw_only=True)
class SessionOptions:
    """One way to look to a site. `requests_per_s` None = as the section says."""

    name: str
    cookies_file: str | None = None
    proxy: str | None = field(default=None, repr=False)
    user_agent: str | None = None
    requests_per_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class YtdlpOptions:
    """The recipe's `ytdlp` section. `session`: which of several sessions these are the options of (`as_session`)."""

    plugin_dirs: tuple[str, ...] = ()
    cookies_file: str | None = None
    proxy: str | None = field(default=None, repr=False)
    user_agent: str | None = None
    sessions: tuple[SessionOptions, ...] = ()
    session: str | None = None
    timeout_s: float = 30.0
    request_limit_s: float = 300.0
    retries: int = 3
    backoff_s: float = 2.0
    backoff_max_s: float = 600.0
    requests_per_s: float = 1.0
    site_requests_per_s: float | None = None
    cool_down_s: float = 60.0
    blocks_to_quarantine: int = 3
    quarantine_s: float = 3600.0
    quarantine_max_s: float = 86_400.0
    max_wait_s: float = 21_600.0
    when_shut: str = "stop"
    allow_private_addresses: tuple[str, ...] = ()
    respect_opt_outs: tuple[str, ...] = opt_outs.DEFAULT

    @classmethod
    def from_mapping(cls, section: Mapping[str, Any]) -> YtdlpOptions:
        """From plain values; keys this class does not know are left out."""
        known = {f.name for f in fields(cls)}
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in section.items() if key in known
        }
        values["sessions"] = tuple(SessionOptions(**session) for session in values.get("sessions", ()))
        return cls(**values)

    def all_sessions(self) -> tuple[SessionOptions, ...]:
        """Those listed; without a list the section's own keys make one."""
        return self.sessions or (
            SessionOptions(
                name=DEFAULT_SESSION, cookies_file=self.cookies_file, proxy=self.proxy, user_agent=self.user_agent
            ),
        )

    def as_session(self, name: str) -> YtdlpOptions:
        """The section as one session has it. KeyError for a name that it does not list."""
        one = {session.name: session for session in self.all_sessions()}[name]
        return replace(
            self,
            cookies_file=one.cookies_file,
            proxy=one.proxy,
            user_agent=one.user_agent,
            session=name if self.sessions else None,
        )

    def rules(self) -> Rules:
        """What the governor must know of this section: names and numbers, no secrets."""
        shared = {f.name: getattr(self, f.name) for f in fields(Rules) if f.name != "sessions"}
        rates = ((session.name, session.requests_per_s or self.requests_per_s) for session in self.all_sessions())
        return Rules(sessions=tuple(rates), **shared)

    def mask(self) -> Mask:
        """Hides the secrets of every session."""
        mask = Mask.of(proxy=self.proxy, cookies_file=self.cookies_file)
        for session in self.sessions:
            mask |= Mask.of(proxy=session.proxy, cookies_file=session.cookies_file)
        return mask


def ydl_params(options: YtdlpOptions, mask: Mask) -> dict[str, Any]:
    """What a YoutubeDL object is made with."""
    params: dict[str, Any] = {
        "quiet": True,
        "no_warnings": True,
        "noprogress": True,
        "color": "no_color",
        "logger": _Quiet(mask),
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

    def __init__(self, mask: Mask) -> None:
        self._mask = mask

    def debug(self, message: str) -> None:
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s", self._mask(str(message)))

    info = warning = error = debug


def _cookies(path: str | None) -> io.StringIO | None:
    return io.StringIO(Path(path).read_text(encoding="utf-8")) if path else None
