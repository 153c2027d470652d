"""Serves a page of Gradio's on this machine: `autorecap autocap demo`, `autorecap genau demo`.

Left alone Gradio would ask others for fonts, and tell them that it was started: here a page is an app of our own
server, on 127.0.0.1, with analytics off, fonts of the system, and a content policy by which a browser asks nobody else.
Names of other hosts are refused, so that no page of the web can reach it through a name of its own.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from collections.abc import Callable
from typing import Any

from pipeline.shown import one_line

#: Read by Gradio and by the Hub's library when they are imported.
QUIET = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1", "GRADIO_SSR_MODE": "False"}
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; "
    "connect-src 'self' data: blob:; frame-ancestors 'none'; base-uri 'self'; form-action 'self'"
)
LARGEST_UPLOAD = "1gb"
LOCAL = ("127.0.0.1", "localhost", "::1")


class PageError(Exception):
    """A page that cannot be shown; the message says why, and what to do."""


def listen(host: str, port: int) -> socket.socket:
    """The page's address, held before weights are read. Port 0: any that is free. PageError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        told = error.strerror or str(error)
        raise PageError(f"the page cannot be served on {one_line(host)}, port {port} ({told}): try --port") from error


def serve(make_page: Callable[[], Any], host: str, listening: socket.socket, on_ready: Callable[[str], None]) -> None:
    """Until it is stopped. `make_page` gives Gradio's Blocks; `on_ready` gets the address when it can be opened."""
    os.environ.update(QUIET)
    with tempfile.TemporaryDirectory(prefix="autorecap-demo-") as uploads:
        os.environ["GRADIO_TEMP_DIR"] = uploads
        port = listening.getsockname()[1]
        address = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
        _run(make_app(make_page(), host), listening, lambda: on_ready(address))


def serve_until_stopped(make_page: Callable[[], Any], host: str, listening: socket.socket) -> int:
    """Tells the address on stdout and serves; the exit code of the signal that ended it."""
    from pipeline.stopping import Stopped, stoppable

    if host not in LOCAL:
        sys.stderr.write(f"{one_line(host)}: whoever reaches this address can use the page; there is no login\n")

    def on_ready(address: str) -> None:
        sys.stdout.write(f"{address}  (Ctrl-C ends it)\n")
        sys.stdout.flush()

    try:
        with stoppable():
            serve(make_page, host, listening, on_ready)
    except Stopped as stopped:
        return stopped.exit_code
    return 0


def require_gradio() -> None:
    """PageError with what to install. Before any weights are read."""
    os.environ.update(QUIET)
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise PageError(f'the page needs Gradio ({error}): pip install "autorecap[demo]"') from error


def make_app(page: Any, host: str) -> Any:
    """The page as an ASGI app."""
    import gradio
    from fastapi import FastAPI
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    if host in LOCAL:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(LOCAL))

    @app.middleware("http")
    async def closed(request: Any, call_next: Any) -> Any:
        response = await call_next(request)
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    font = ["system-ui", "sans-serif"]
    theme = gradio.themes.Base(font=font, font_mono=["ui-monospace", "monospace"])
    return gradio.mount_gradio_app(
        app, page, path="/", server_name=host, theme=theme, footer_links=[], run_history=False,
        max_file_size=LARGEST_UPLOAD, ssr_mode=False, enable_monitoring=False, pwa=False, mcp_server=False,
    )  # fmt: skip


def _run(app: Any, listening: socket.socket, on_ready: Callable[[], None]) -> None:
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            on_ready()

    Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=2)).run(sockets=[listening])
