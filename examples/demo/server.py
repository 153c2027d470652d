"""The demo's media site: a small real HTTP server on loopback that behaves, and misbehaves, as sites do.

    python examples/demo/server.py --port 8765

    with DemoSite() as site:                     # a free port, in a thread
        urlopen(f"{site.url}/watch/duckpond_01")
        site.requests                            # what was asked so far

    /watch/<id>       a page for people          /media/<file>      with Range, HEAD and content types
    /api/<id>.json    metadata for yt-dlp        /captions/<file>   caption tracks

`media/site.json` holds the sources and, per path, a behaviour: `status` (for the first `times` requests, or always;
with `retry_after` seconds), `truncate_at` (the share of the file after which bytes never come, whatever is asked),
`seconds` (how long the body dribbles). Standard library only.
"""

from __future__ import annotations

import argparse
import html
import json
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

HERE = Path(__file__).resolve().parent
DEFAULT_PORT = 8765
CHUNK_BYTES = 64 * 1024
DRIBBLES = 20  # pieces of a slow body

CONTENT_TYPES = {
    ".mp4": "video/mp4",
    ".m4a": "audio/mp4",
    ".webm": "audio/webm",
    ".opus": "audio/ogg",
    ".ogg": "audio/ogg",
    ".mp3": "audio/mpeg",
    ".flac": "audio/flac",
    ".wav": "audio/wav",
    ".vtt": "text/vtt; charset=utf-8",
    ".srt": "application/x-subrip; charset=utf-8",
    ".json3": "application/json; charset=utf-8",
}
_RANGE = re.compile(r"bytes=(\d*)-(\d*)$")


@dataclass(frozen=True)
class Request:
    """One line of the request log."""

    method: str
    path: str
    range: str | None
    status: int


class NotSatisfiable(Exception):
    """A Range outside the file: 416."""


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """First and last byte that a Range header asks for; None when the whole file is to be sent.

    What is not one well-formed byte range is ignored, as the HTTP standard allows.
    """
    match = _RANGE.match(header or "")
    if not match or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:  # the last so many bytes
        start, end = max(0, size - int(last)), size - 1
        if not int(last):
            raise NotSatisfiable
    else:
        start, end = int(first), min(int(last), size - 1) if last else size - 1
        if last and int(last) < start:
            return None
    if start >= size:
        raise NotSatisfiable
    return start, end


class DemoSite(ThreadingHTTPServer):
    """The site as a context manager; port 0 takes a free one. `log` is a file that gets a JSON line a request."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int = 0, *, log: str | Path | None = None, media: Path = HERE / "media") -> None:
        self.media = media.resolve()
        site = json.loads((self.media / "site.json").read_text(encoding="utf-8"))
        self.sources: dict[str, dict[str, Any]] = site["sources"]
        self.behaviours: dict[str, dict[str, Any]] = site["behaviours"]
        self.requests: list[Request] = []
        self._log = Path(log) if log else None
        self._asked: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        super().__init__(("127.0.0.1", port), Handler)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def watch_url(self, source_id: str) -> str:
        return f"{self.url}/watch/{source_id}"

    def write_sources(self, path: str | Path) -> Path:
        """sources.txt as it stands in the repo, but with this site's port."""
        text = (HERE / "sources.txt").read_text(encoding="utf-8")
        Path(path).write_text(text.replace(f"127.0.0.1:{DEFAULT_PORT}", f"127.0.0.1:{self.port}"), encoding="utf-8")
        return Path(path)

    def note(self, request: Request) -> None:
        with self._lock:
            self.requests.append(request)
            if self._log:
                with self._log.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(request)) + "\n")

    def refusal(self, path: str) -> dict[str, Any] | None:
        """The behaviour if this request is to be answered with its status; counts requests of the path."""
        behaviour = self.behaviours.get(path, {})
        if "status" not in behaviour:
            return None
        with self._lock:
            self._asked[path] += 1
            return behaviour if self._asked[path] <= behaviour.get("times", float("inf")) else None

    def __enter__(self) -> DemoSite:
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()
        self.server_close()
        if self._thread:
            self._thread.join()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news; anything else is a bug and shown."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "DemoSite"
    timeout = 30
    server: DemoSite

    routes: ClassVar[dict[str, str]] = {"watch": "page", "api": "metadata", "media": "file", "captions": "file"}

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if refusal := self.server.refusal(path):
            extra = {"Retry-After": str(refusal["retry_after"])} if "retry_after" in refusal else {}
            return self.refuse(refusal["status"], extra)
        kind, _, name = path.lstrip("/").partition("/")
        if path == "/":
            return self.send_text(self.front_page(), "text/html; charset=utf-8")
        if kind not in self.routes:
            return self.refuse(404)
        send: Callable[[str, str], None] = getattr(self, f"send_{self.routes[kind]}")
        return send(path, name)

    do_HEAD = do_GET  # noqa: N815

    def send_page(self, path: str, name: str) -> None:
        source = self.server.sources.get(name)
        if source is None:
            return self.refuse(404)
        title, about = html.escape(source["title"]), html.escape(source["description"])
        media = html.escape(source["formats"][0]["url"])
        page = f"<h1>{title}</h1>\n<p>{about}</p>\n<video controls src='{media}'></video>"
        return self.send_text(f"<!doctype html><title>{title}</title>\n{page}\n", "text/html; charset=utf-8")

    def front_page(self) -> str:
        items = (f"<li><a href='/watch/{i}'>{html.escape(s['title'])}</a>" for i, s in self.server.sources.items())
        return "<!doctype html><title>The demo's site</title>\n<ul>" + "\n".join(items) + "</ul>\n"

    def send_metadata(self, path: str, name: str) -> None:
        source = self.server.sources.get(name.removesuffix(".json"))
        if source is None or not name.endswith(".json"):
            return self.refuse(404)
        return self.send_text(json.dumps(self.absolute(source), ensure_ascii=False), "application/json")

    def absolute(self, value: Any) -> Any:
        """The same with every `url` made absolute."""
        if isinstance(value, dict):
            return {k: self.server.url + v if k == "url" else self.absolute(v) for k, v in value.items()}
        return [self.absolute(item) for item in value] if isinstance(value, list) else value

    def send_file(self, path: str, name: str) -> None:
        folder = self.server.media / ("files" if path.startswith("/media/") else "captions")
        file = (folder / name).resolve()
        if file.parent != folder or not file.is_file() or file.suffix not in CONTENT_TYPES:
            return self.refuse(404)
        body = file.read_bytes()
        try:
            span = byte_range(self.headers.get("Range"), len(body))
        except NotSatisfiable:
            return self.refuse(416, {"Content-Range": f"bytes */{len(body)}"})
        start, end = span or (0, len(body) - 1)
        self.begin(206 if span else 200, CONTENT_TYPES[file.suffix], end + 1 - start, span and len(body), start)
        return self.send_body(body, start, end, self.server.behaviours.get(path, {}))

    def begin(self, status: int, content_type: str, size: int, whole: int | None = None, start: int = 0) -> None:
        """The head of a good answer; `whole` is the file's size where a part of it follows."""
        self.answer(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(size))
        self.send_header("Accept-Ranges", "bytes")
        if whole is not None:
            self.send_header("Content-Range", f"bytes {start}-{start + size - 1}/{whole}")
        self.end_headers()

    def send_body(self, body: bytes, start: int, end: int, behaviour: dict[str, Any]) -> None:
        if self.command == "HEAD":
            return
        stop = min(end + 1, int(len(body) * behaviour.get("truncate_at", 1.0)))
        pieces = DRIBBLES if "seconds" in behaviour else 1
        step = max(1, -(-(stop - start) // pieces)) if pieces > 1 else CHUNK_BYTES
        for at in range(start, stop, step):
            self.wfile.write(body[at : min(at + step, stop)])
            if pieces > 1:
                time.sleep(behaviour["seconds"] / pieces)
        if stop < end + 1:
            self.close_connection = True  # less was sent than promised: nothing more may follow

    def send_text(self, text: str, content_type: str) -> None:
        body = text.encode()
        self.begin(200, content_type, len(body))
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status: int, headers: dict[str, str] | None = None) -> None:
        body = f"{status} {HTTPStatus(status).phrase}\n".encode()
        self.answer(status)
        for name, value in {"Content-Type": "text/plain", "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def answer(self, status: int) -> None:
        self.server.note(Request(self.command, self.path, self.headers.get("Range"), status))
        self.send_response(status)

    def log_message(self, format: str, *args: Any) -> None:
        """The request log is `note`'s."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve the demo's media site on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="0 takes a free one")
    parser.add_argument("--port-file", type=Path, help="write the port to this file")
    parser.add_argument("--log", type=Path, help="append one JSON line a request to this file")
    options = parser.parse_args()
    with DemoSite(options.port, log=options.log) as site:
        if options.port_file:
            beside = options.port_file.with_name(options.port_file.name + ".new")
            beside.write_text(f"{site.port}\n")
            beside.replace(options.port_file)
        print(site.url, flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print("stopped")


if __name__ == "__main__":
    main()
