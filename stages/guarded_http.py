"""The one way out: yt-dlp's urllib handler, held to the recipe's addresses and to bodies of a bounded size.

    ydl._request_director = guarded_director(ydl, AddressGuard(...))

Every request that yt-dlp makes goes through a request director: pages, redirects, transcripts, pictures, playlists,
fragments, media. Ours has a single handler. yt-dlp's others (requests, curl_cffi, websockets) connect inside their own
libraries, where an address cannot be held to what was looked at: they are left out, and with them wss:// media and
the imitation of browsers. FTP is left out as well.

- Connections are made by the guard (stages/guard.py), a redirect's as much as the first.
- Only the proxy of the recipe or the environment is used: a page's word for another one is refused.
- A page may be MAX_PAGE_BYTES long, unpacked; whoever reads in pieces counts by himself. Bodies are unpacked piece by
  piece (gzip and deflate; brotli is not asked for), never at once.
"""

from __future__ import annotations

import functools
import http.client
import io
import urllib.request
import urllib.response
import zlib
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from yt_dlp import YoutubeDL
from yt_dlp.networking import Request, RequestDirector, Response
from yt_dlp.networking._urllib import (
    HTTPHandler,
    ProxyHandler,
    RedirectHandler,
    UrllibRH,
    _create_http_connection,
)
from yt_dlp.networking.exceptions import HTTPError, RequestError, TransportError

from stages.faults import Fault
from stages.guard import AddressGuard

#: A page, a playlist or an answer of an API; YouTube's watch pages are 1 to 2 MB.
MAX_PAGE_BYTES = 32_000_000
#: Of a redirect, whose body nobody reads.
MAX_REDIRECT_BYTES = 65_536
#: A body may be packed more than once; not more often than this.
MAX_ENCODINGS = 2
_PIECE = 65_536
_WINDOW_BITS = {"gzip": zlib.MAX_WBITS | 16, "x-gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}

#: Called with every answer's asked and answering URL and its headers; may raise Fault.
Watcher = Callable[[str, str, Mapping[str, Any]], None]


def guarded_director(ydl: YoutubeDL, guard: AddressGuard, watcher: Watcher | None = None) -> RequestDirector:
    """A director with the guarded handler and no other."""
    director = ydl.build_request_director([functools.partial(GuardedRH, guard, watcher)])
    assert set(director.handlers) == {"Guarded"}
    return director


class GuardedRH(UrllibRH):
    """See the module's text."""

    _SUPPORTED_URL_SCHEMES = ("http", "https", "data")

    def __init__(self, guard: AddressGuard, watcher: Watcher | None, **options: Any) -> None:
        super().__init__(**{**options, "enable_file_urls": False})
        self._guard = guard
        self._watcher = watcher

    def _prepare_headers(self, _: Request, headers: Any) -> None:
        for name in [name for name in headers if name.lower().startswith("ytdl-")]:
            del headers[name]  # yt-dlp's own notes, such as a proxy: no page may write them
        if "Accept-Encoding" not in headers:
            headers["Accept-Encoding"] = "gzip, deflate"

    def _create_instance(self, proxies: Any, cookiejar: Any, legacy_ssl_support: Any = None) -> Any:
        context = functools.cache(lambda: self._make_sslcontext(legacy_ssl_support=legacy_ssl_support))
        opener = urllib.request.OpenerDirector()
        for handler in (
            ProxyHandler(proxies),
            _GuardedHTTPHandler(self._guard, context, source_address=self.source_address),
            urllib.request.HTTPCookieProcessor(cookiejar),
            urllib.request.DataHandler(),
            urllib.request.UnknownHandler(),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
            RedirectHandler(),
        ):
            opener.add_handler(handler)
        opener.addheaders = []
        return opener

    def _send(self, request: Request) -> Response:
        try:
            if any(proxy and proxy not in self.proxies.values() for proxy in self._get_proxies(request).values()):
                raise Fault("refused_address", "the page names a proxy of its own")
            answer = BoundedResponse(super()._send(request))
            if self._watcher is not None:
                self._watcher(request.url, answer.url, answer.headers)
        except Fault as fault:
            raise RequestError(cause=fault) from fault
        except HTTPError as error:
            raise HTTPError(BoundedResponse(error.response), redirect_loop=error.redirect_loop) from error
        return answer


class BoundedResponse(Response):
    """A response that is read at once only up to MAX_PAGE_BYTES."""

    def __init__(self, answer: Any) -> None:
        super().__init__(fp=answer, url=answer.url, headers=answer.headers, status=answer.status, reason=answer.reason)

    def read(self, amt: int | None = None) -> bytes:
        if amt is not None and amt >= 0:
            return self._read_some(amt)
        body = io.BytesIO()
        while piece := self._read_some(_PIECE):
            body.write(piece)
            if body.tell() > MAX_PAGE_BYTES:
                fault = Fault("too_large", f"the page is larger than {MAX_PAGE_BYTES} bytes")
                raise RequestError(cause=fault) from fault
        return body.getvalue()

    def _read_some(self, size: int) -> bytes:
        try:
            piece: bytes = self.fp.read(size)
        except zlib.error as error:
            raise TransportError(cause=error) from error
        if not piece and size and (missing := self._missing_bytes()):
            # Read piece by piece, a body that breaks off looks like one that ends: half a transcript is no transcript.
            cut_short = http.client.IncompleteRead(b"", missing)
            raise TransportError(cause=cut_short) from cut_short
        return piece

    def _missing_bytes(self) -> int:
        """How many of the announced bytes have not come; 0 where nothing was announced."""
        return getattr(getattr(self.fp, "fp", None), "length", None) or 0


class _GuardedHTTPHandler(HTTPHandler):
    """yt-dlp's handler with the guard's connections, and bodies unpacked as they are read."""

    def __init__(self, guard: AddressGuard, make_context: Callable[[], Any], **options: Any) -> None:
        """`make_context`: TLS's, which takes 50 ms to make: only where it is needed."""
        super().__init__(**options)
        self._guard = guard
        self._make_context = make_context

    def http_open(self, req: Any) -> Any:
        return self.do_open(self._connections(http.client.HTTPConnection, req), req)

    def https_open(self, req: Any) -> Any:
        return self.do_open(self._connections(http.client.HTTPSConnection, req), req, context=self._make_context())

    def _connections(self, base: Any, req: Any) -> Callable[..., Any]:
        """What makes the connection of this request; asked anew for each redirect."""
        proxied = req.has_proxy() or req._tunnel_host or "Ytdl-socks-proxy" in req.headers
        create = functools.partial(_create_http_connection, self._make_conn_class(base, req), self._source_address)
        if proxied:  # the connection is the proxy's, and what it does with the name is its own affair
            self._guard.check_name(urlsplit(req.full_url).hostname or "")
            return create

        def guarded(*args: Any, **options: Any) -> Any:
            connection = create(*args, **options)
            connection._create_connection = self._guard.connect
            return connection

        return guarded

    def http_response(self, req: Any, resp: Any) -> Any:
        if 300 <= resp.code < 400:
            return _again(resp, io.BytesIO(resp.read(MAX_REDIRECT_BYTES)))
        encodings = [name.strip().lower() for name in resp.headers.get("Content-Encoding", "").split(",")]
        unpacked: Any = resp
        for encoding in reversed([name for name in encodings if name not in ("", "identity")][-MAX_ENCODINGS:]):
            if encoding not in _WINDOW_BITS:
                break
            unpacked = Unpacked(unpacked, _WINDOW_BITS[encoding])
        return resp if unpacked is resp else _again(resp, unpacked)

    https_response = http_response


class Unpacked(io.RawIOBase):
    """A packed body, unpacked as it is read: memory stays at a piece, however far it unpacks."""

    def __init__(self, packed: Any, window_bits: int) -> None:
        super().__init__()
        self._packed = packed
        self._window_bits = window_bits
        self._unpacker = zlib.decompressobj(window_bits)
        self._begun = False

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        """At most `size` bytes; no bytes at the end. zlib.error for a damaged body."""
        if size is None or size < 0:
            size = _PIECE
        while not self._unpacker.eof:
            packed = self._unpacker.unconsumed_tail or self._packed.read(_PIECE)
            if not packed and not self._begun:
                return b""
            if piece := self._unpack(packed, size):
                return piece
            if not packed:
                raise http.client.IncompleteRead(b"")
        return b""  # what follows the first packed body is junk

    def _unpack(self, packed: bytes, size: int) -> bytes:
        try:
            piece = self._unpacker.decompress(packed, size)
        except zlib.error:
            if self._begun or self._window_bits != zlib.MAX_WBITS:
                raise
            self._unpacker = zlib.decompressobj(-zlib.MAX_WBITS)  # many servers' `deflate` has no header
            piece = self._unpacker.decompress(packed, size)
        self._begun = True
        return piece

    def close(self) -> None:
        self._packed.close()
        super().close()


def _again(resp: Any, body: Any) -> Any:
    """The answer with another body."""
    made: Any = urllib.response.addinfourl(body, resp.headers, resp.url, resp.code)
    made.msg = resp.msg
    return made
