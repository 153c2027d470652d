"""One YoutubeDL object: the requests themselves, each one try. For one thread at a time.

    session = YtdlpSession(options)
    info = session.extract(url)                          # yt-dlp's answer for a page with one video
    path = session.download(info, folder, Limits(...))   # the media behind it
    body = session.read(url, headers, max_bytes, fault)  # a transcript, a picture

Who asks when, and what is tried again, is decided in stages/ytdlp_client.py.
"""

from __future__ import annotations

import io
import socket
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.deadline import Deadline
from stages.faults import Fault
from stages.guard import AddressGuard
from stages.media import FOUND_BY, Address
from stages.opt_outs import OptOuts
from stages.ranged_fetch import RangeAnswer
from stages.ytdlp_download import Limits, download
from stages.ytdlp_faults import or_fault
from stages.ytdlp_options import YtdlpOptions, ydl_params
from stages.ytdlp_plugins import use_plugins
from stages.ytdlp_range import read_range

#: A YoutubeDL object takes some 1.5 MB.
MAX_OPEN = 16


class YtdlpSession:
    """All its requests go out with the same cookies, proxy and user agent."""

    def __init__(self, options: YtdlpOptions) -> None:
        use_plugins(options.plugin_dirs)
        from stages.guarded_http import guarded_director
        from stages.ytdlp_bounded import BoundedYoutubeDL

        self._name = options.session
        self._limit_s = options.request_limit_s
        self._mask = options.mask()
        self._deadline = Deadline()
        self._ydl = BoundedYoutubeDL(ydl_params(options, self._mask))
        self._opt_outs = OptOuts(options.respect_opt_outs, options.user_agent)
        guard = _Holding(self._deadline, options.allow_private_addresses)
        self._ydl._request_director = guarded_director(self._ydl, guard, self._opt_outs.see)

    def close(self) -> None:
        self._ydl.close()

    def extract(self, url: str) -> dict[str, Any]:
        """What the page says, unless it is no single video that can be had. Raises Fault."""
        self._opt_outs.forget_pages()
        with self._deadline.of(self._limit_s, _too_long()):
            info = or_fault(lambda: self._ydl.extract_info(url, download=False), self._mask)
        if not isinstance(info, dict):
            raise Fault("extractor_failed", "the extractor returned nothing")
        self._opt_outs.check_page(url, info.get("webpage_url"), info.get("original_url"))
        if info.get("_type", "video") != "video":
            raise Fault("playlist", "the address holds several videos: list them one by one")
        if info.get("is_live") or info.get("live_status") in {"is_live", "is_upcoming"}:
            raise Fault("live", "a stream that has not ended")
        if not info.get("url"):
            raise Fault("no_audio", "none of its formats can be fetched")
        return {**info, FOUND_BY: self._name}

    def download(self, info: Mapping[str, Any], folder: Path, limits: Limits) -> Path:
        """The media behind `info` as a file in `folder`, continued if a part is there. Raises Fault."""
        too_slow = Fault("too_slow", f"the download took longer than {limits.max_s} s")
        with self._opt_outs.media(), self._deadline.of(limits.max_s, too_slow):
            return download(self._ydl, info, folder, limits, self._mask)

    def read_range(self, address: Address, first: int, last: int) -> RangeAnswer:
        """The bytes [first, last] of the media. Raises Fault."""
        with self._opt_outs.media(), self._deadline.of(self._limit_s, _too_long()):
            return or_fault(lambda: read_range(self._ydl, address, first, last), self._mask)

    def read_media(self, url: str, headers: Mapping[str, str], max_bytes: int, too_large: Fault) -> bytes:
        """As `read`, of a body that may opt out: a picture."""
        with self._opt_outs.media():
            return self.read(url, headers, max_bytes, too_large)

    def read(self, url: str, headers: Mapping[str, str], max_bytes: int, too_large: Fault) -> bytes:
        """A small body. Raises Fault; `too_large` for more than `max_bytes`."""
        with self._deadline.of(self._limit_s, _too_long()):
            return or_fault(lambda: self._read(url, headers, max_bytes, too_large), self._mask)

    def _read(self, url: str, headers: Mapping[str, str], max_bytes: int, too_large: Fault) -> bytes:
        from yt_dlp.networking import Request

        body = io.BytesIO()
        with self._ydl.urlopen(Request(url, headers=dict(headers))) as response:
            while chunk := response.read(65_536):
                body.write(chunk)
                if body.tell() > max_bytes:
                    raise too_large
        return body.getvalue()


class OpenSessions:
    """The sessions of a recipe, each made when it is first needed; of many the last used stay open."""

    def __init__(self, options: YtdlpOptions) -> None:
        self._options = options
        self._open: OrderedDict[str, YtdlpSession] = OrderedDict()

    def of(self, name: str) -> YtdlpSession:
        session = self._open.pop(name, None) or YtdlpSession(self._options.as_session(name))
        self._open[name] = session
        if len(self._open) > MAX_OPEN:
            self._open.popitem(last=False)[1].close()
        return session

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1].close()


class _Holding(AddressGuard):
    """The guard, with every connection known to the request's deadline."""

    def __init__(self, deadline: Deadline, allowed: Sequence[str]) -> None:
        super().__init__(allowed)
        self._deadline = deadline

    def connect(self, *args: Any, **options: Any) -> socket.socket:
        return self._deadline.hold(super().connect(*args, **options))


def _too_long() -> Fault:
    return Fault("timeout", "the request took longer than ytdlp.request_limit_s")
