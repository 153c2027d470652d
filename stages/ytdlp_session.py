"""One YoutubeDL object: the requests themselves, each one try. For one thread at a time.

    session = YtdlpSession(options)
    info = session.extract(url)                          # yt-dlp's answer for a page with one video
    path = session.download(info, folder, Limits(...))   # the media behind it
    body = session.read(url, headers, max_bytes, fault)  # a transcript, a picture

Who asks when, and what is tried again, is decided in stages/ytdlp_client.py.
"""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.faults import Fault
from stages.guard import AddressGuard
from stages.opt_outs import OptOuts
from stages.ytdlp_download import Limits, download
from stages.ytdlp_faults import faults
from stages.ytdlp_options import YtdlpOptions, ydl_params
from stages.ytdlp_plugins import use_plugins


class YtdlpSession:
    """All its requests go out with the same cookies, proxy and user agent."""

    def __init__(self, options: YtdlpOptions) -> None:
        use_plugins(options.plugin_dirs)
        import yt_dlp

        from stages.guarded_http import guarded_director

        self._timeout_s = options.timeout_s
        self._ydl = yt_dlp.YoutubeDL(ydl_params(options))
        self._opt_outs = OptOuts(options.respect_opt_outs, options.user_agent)
        guard = AddressGuard(options.allow_private_addresses)
        self._ydl._request_director = guarded_director(self._ydl, guard, self._opt_outs.see)

    def close(self) -> None:
        self._ydl.close()

    def extract(self, url: str) -> dict[str, Any]:
        """What the page says, unless it is no single video that can be had. Raises Fault."""
        self._opt_outs.forget_pages()
        with faults():
            info = self._ydl.extract_info(url, download=False)
        if not isinstance(info, dict):
            raise Fault("extractor_failed", "the extractor returned nothing")
        self._opt_outs.check_page(url, info.get("webpage_url"), info.get("original_url"))
        if info.get("_type", "video") != "video":
            raise Fault("playlist", "the address holds several videos: list them one by one")
        if info.get("is_live") or info.get("live_status") in {"is_live", "is_upcoming"}:
            raise Fault("live", "a stream that has not ended")
        if not info.get("url"):
            raise Fault("no_audio", "none of its formats can be fetched")
        return info

    def download(self, info: Mapping[str, Any], folder: Path, limits: Limits) -> Path:
        """The media behind `info` as a file in `folder`, continued if a part is there. Raises Fault."""
        with self._opt_outs.media():
            return download(self._ydl, info, folder, limits)

    def read_media(self, url: str, headers: Mapping[str, str], max_bytes: int, too_large: Fault) -> bytes:
        """As `read`, of a body that may opt out: a picture."""
        with self._opt_outs.media():
            return self.read(url, headers, max_bytes, too_large)

    def read(self, url: str, headers: Mapping[str, str], max_bytes: int, too_large: Fault) -> bytes:
        """A small body. Raises Fault; `too_large` for more than `max_bytes`."""
        from yt_dlp.networking import Request

        deadline_s = time.monotonic() + 10 * self._timeout_s
        body = io.BytesIO()
        with faults(), self._ydl.urlopen(Request(url, headers=dict(headers))) as response:
            while chunk := response.read(65_536):
                body.write(chunk)
                if body.tell() > max_bytes:
                    raise too_large
                if time.monotonic() > deadline_s:
                    raise Fault("timeout", "the body did not end in time")
        return body.getvalue()
