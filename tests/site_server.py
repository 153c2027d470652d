"""A small real website on 127.0.0.1: watch pages, media with Range, transcripts, and what goes wrong there.

`site.answers[path]` lists ways to answer the next requests of that path, one each; then it answers well: a
status number, ("retry-after", status, seconds), ("redirect", status, URL), "truncated", "stalled", "empty",
"no_range" (the whole file, whatever part was asked for), "other_range" (another part than was asked for).
`site.latency_s` passes before an answer, `site.bytes_per_s` is how fast bodies come; 0 = at once.
`site.headers[path]` are sent with every answer of that path; None takes a header away.
"""

from __future__ import annotations

import json
import re
import threading
import time
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Site:
    """The pages, what to answer, and what was asked."""

    def __init__(self) -> None:
        self.bodies: dict[str, tuple[str, bytes]] = {}
        self.answers: dict[str, list[Any]] = {}
        self.headers: dict[str, dict[str, str | None]] = {}
        self.latency_s = 0.0
        self.bytes_per_s = 0.0
        self.sent_bytes = 0
        self.sent_headers: list[str] = []
        self.asked: list[str] = []
        self.asked_at_s: list[float] = []
        self.lock = threading.Lock()
        self.server = _Server(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def put(self, path: str, body: bytes | str, content_type: str = "application/octet-stream") -> str:
        """Serve a body; returns its URL."""
        self.bodies[path] = (content_type, body.encode() if isinstance(body, str) else body)
        return self.url + path

    def watch(self, video_id: str, media: bytes = b"x" * 5000, **page: Any) -> str:
        """A watch page for the example extractor; `captions` and `automatic` are WebVTT texts."""
        formats = page.pop("formats", None) or [
            {
                "format_id": "v",
                "url": f"/media/{video_id}.mp4",
                "ext": "mp4",
                "vcodec": "h264",
                "acodec": "aac",
            },
            {
                "format_id": "low",
                "url": f"/media/{video_id}.low.ogg",
                "ext": "ogg",
                "vcodec": "none",
                "abr": 32,
            },
            {"format_id": "high", "url": f"/media/{video_id}.ogg", "ext": "ogg", "vcodec": "none", "abr": 96},
        ]
        for item in formats:
            if item["url"].startswith("/"):
                self.bodies.setdefault(item["url"].partition("?")[0], ("audio/ogg", media))
                item["url"] = self.url + item["url"]
        for key, kind in (("captions", "subtitles"), ("automatic", "automatic_captions")):
            if key in page:
                url = self.put(f"/{key}/{video_id}.vtt", page.pop(key), "text/vtt")
                page[kind] = {"en": [{"url": url, "ext": "vtt"}]}
        page = {
            "title": f"Video {video_id}",
            "description": "A text.",
            "duration": 30.0,
            "formats": formats,
            **page,
        }
        return self.put(f"/watch/{video_id}", json.dumps(page), "application/json")

    def times_asked(self, path: str) -> int:
        return self.asked.count(path)


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are part of the tests."""


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # or every answer waits 40 ms for an acknowledgement

        def log_message(self, *args: Any) -> None:
            """Silent."""

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            with site.lock:
                site.asked.append(path)
                site.sent_headers.append(str(self.headers))
                site.asked_at_s.append(time.monotonic())
                way = site.answers[path].pop(0) if site.answers.get(path) else "well"
            if site.latency_s:
                time.sleep(site.latency_s)
            if isinstance(way, tuple):
                kind, status, value = way
                return self.refuse(status, {"Location" if kind == "redirect" else "Retry-After": str(value)})
            if isinstance(way, int):
                return self.refuse(way, {})
            if path not in site.bodies:
                return self.refuse(404, {})
            return self.serve(*site.bodies[path], way)

        def refuse(self, status: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def serve(self, content_type: str, body: bytes, way: str) -> None:
            body = b"" if way == "empty" else body
            start, end = self.range_of(len(body)) if way != "no_range" else (None, len(body))
            if start is not None and way == "other_range":
                start += 1
            self.send_response(206 if start is not None else 200)
            self.send_header("Content-Type", content_type)
            self.send_header("Accept-Ranges", "bytes")
            told = {"ETag": f'"{zlib.crc32(body)}"', **site.headers.get(self.path.partition("?")[0], {})}
            for name, value in told.items():
                if value is not None:
                    self.send_header(name, value)
            if start is not None:
                self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(body)}")
            rest = body[start or 0 : end]
            self.send_header("Content-Length", str(len(rest)))
            self.end_headers()
            if way in {"truncated", "stalled"}:
                self.wfile.write(rest[: len(rest) // 2])
                self.wfile.flush()
                if way == "stalled":
                    time.sleep(0.8)
                self.close_connection = True
                return
            self.send_slowly(rest) if site.bytes_per_s else self.wfile.write(rest)
            site.sent_bytes += len(rest)

        def send_slowly(self, body: bytes) -> None:
            started_s = time.monotonic()
            for at in range(0, len(body), 65_536):
                self.wfile.write(body[at : at + 65_536])
                ahead_s = at / site.bytes_per_s - (time.monotonic() - started_s)
                if ahead_s > 0:
                    time.sleep(ahead_s)

        def range_of(self, size: int) -> tuple[int | None, int]:
            match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
            if not match or int(match.group(1)) >= size:
                return None, size
            return int(match.group(1)), min(int(match.group(2) or size) + 1, size)

    return Handler
