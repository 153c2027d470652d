"""One small site per behaviour on 127.0.0.1, each at its own port, so that each is a site of its own to the governor.

A site serves a watch page (as the example extractor of the tests reads it), captions and media. Until it is `mended`
it misbehaves as its behaviour says; then all it serves is as it should be.
"""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: Pause between two pieces of a slow body, and how many pieces there are.
SLOW_PIECE_S, SLOW_PIECES = 0.1, 5


@dataclass(frozen=True)
class Way:
    """How a kind of request (watch, captions, media) is answered: the first `times`, or all until the site is mended.

    `how`: status, redirect, truncated, longer, shorter, slow, too_slow, stalled, reset, empty.
    """

    how: str
    status: int = 200
    times: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class FaultSite:
    """`bad` and `good`: path -> (content type, body) while the site misbehaves, and after."""

    ways: Mapping[str, Way]
    bad: Mapping[str, tuple[str, bytes]]
    good: Mapping[str, tuple[str, bytes]]
    headers: Mapping[str, str] = field(default_factory=dict)  # of every answer while it misbehaves
    mended: bool = False
    asked: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self.server = _Server(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.2,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def way(self, kind: str) -> Way | None:
        """How to answer this request; None for well."""
        with self._lock:
            self.asked[kind] += 1
            way = None if self.mended else self.ways.get(kind)
            return None if way is None or (way.times is not None and self.asked[kind] > way.times) else way

    def body(self, path: str) -> tuple[str, bytes] | None:
        """What lies at a path. Addresses in a watch page are this site's; `{n}` counts the times it was asked for."""
        found = self.good.get(path) if self.mended else self.bad.get(path, self.good.get(path))
        if found is None or not path.startswith("/watch/"):
            return found
        text = found[1].decode().replace("http://site", self.url).replace("{n}", str(self.asked["watch"]))
        return found[0], text.encode()


def watch_page(video: Mapping[str, Any]) -> tuple[str, bytes]:
    return "application/json", json.dumps(video).encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are part of the trial."""


def _handler(site: FaultSite) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *args: Any) -> None:
            """Silent."""

        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            kind = path.split("/")[1]
            way = site.way(kind) if not path.startswith("/moved") else None
            if way is not None and way.how == "planned" and query != "n=1":
                way = None  # only the address that the plan was told is refused
            body = site.body(path.replace("/moved", "", 1))
            if way is not None and way.how in {"status", "planned"}:
                self.answer(way.status, way.headers, b"")
            elif way is not None and way.how == "redirect":
                to = way.headers.get("Location") or f"/moved{self.path}"
                self.answer(302, {"Location": to}, b"")
            elif way is not None and way.how == "reset":
                # Closing with this option sends a reset instead of an orderly end.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                self.close_connection = True
            elif body is None:
                self.answer(404, {}, b"")
            else:
                self.serve(*body, way)

        def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def serve(self, content_type: str, body: bytes, way: Way | None) -> None:
            how = way.how if way else "well"
            body = b"" if how == "empty" else body
            start, end = self.range_of(len(body))
            rest = body[start or 0 : end]
            announced = len(rest) // 2 if how == "shorter" else len(rest)
            self.send_response(200 if start is None else 206)
            self.send_header("Content-Type", content_type)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(announced))
            if start is not None:
                self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(body)}")
            for name, value in {} if site.mended else site.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.send(rest, how)

        def send(self, body: bytes, how: str) -> None:
            if how in {"truncated", "stalled"}:
                self.wfile.write(body[: len(body) // 2])
                self.wfile.flush()
                time.sleep(3.0 if how == "stalled" else 0.0)
                self.close_connection = True
            elif how in {"slow", "too_slow"}:
                pieces = SLOW_PIECES * (10 if how == "too_slow" else 1)
                step = -(-len(body) // pieces)
                for at in range(0, len(body), step):
                    self.wfile.write(body[at : at + step])
                    self.wfile.flush()
                    time.sleep(SLOW_PIECE_S)
            else:
                self.wfile.write(body)
                self.close_connection = self.close_connection or how == "shorter"

        def range_of(self, size: int) -> tuple[int | None, int]:
            match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
            if not match or int(match.group(1)) >= size:
                return None, size
            return int(match.group(1)), min(int(match.group(2) or size) + 1, size)

    return Handler
