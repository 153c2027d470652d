"""The captioner on a page for the browser: a sound in, its caption and CLAP score out. `autorecap autocap demo`.

Gradio makes the page. Left alone it would ask others for fonts, and tell them that it was started: here it is an app
of our own server, on 127.0.0.1, with analytics off, fonts of the system, and a content policy by which a browser asks
nobody else. Names of other hosts are refused, so that no page of the web can reach it through a name of its own.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pipeline.shown import one_line

if TYPE_CHECKING:
    from pipeline.teller import Teller

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


def serve(teller: Teller, host: str, listening: socket.socket, on_ready: Callable[[str], None]) -> None:
    """Until it is stopped. `on_ready` gets the address when the page can be opened."""
    os.environ.update(QUIET)
    with tempfile.TemporaryDirectory(prefix="autorecap-demo-") as uploads:
        os.environ["GRADIO_TEMP_DIR"] = uploads
        port = listening.getsockname()[1]
        address = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
        _run(make_app(teller, host), listening, lambda: on_ready(address))


def require_gradio() -> None:
    """PageError with what to install. Before any weights are read."""
    os.environ.update(QUIET)
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise PageError(f'the page needs Gradio ({error}): pip install "autorecap[demo]"') from error


def make_app(teller: Teller, host: str) -> Any:
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
        app, make_page(teller), path="/", server_name=host, theme=theme, footer_links=[], run_history=False,
        max_file_size=LARGEST_UPLOAD, ssr_mode=False, enable_monitoring=False, pwa=False, mcp_server=False,
    )  # fmt: skip


def make_page(teller: Teller) -> Any:
    """Gradio's Blocks."""
    import gradio

    from captioner.load import model_name

    with gradio.Blocks(analytics_enabled=False, title="AutoReCap: captions", delete_cache=(3600, 3600)) as page:
        gradio.Markdown("# Captions for sounds")
        with gradio.Row():
            with gradio.Column():
                file = gradio.Audio(
                    sources=["upload"],
                    type="filepath",
                    label="Sound",
                    editable=False,
                    buttons=["download"],
                    elem_id="sound",
                )
                title = gradio.Textbox(label="Title", elem_id="title", max_length=1000)
                video_caption = gradio.Textbox(label="Visual caption", elem_id="video-caption", max_length=1000)
                description = gradio.Textbox(label="Description", elem_id="description", max_length=5000, lines=2)
                beams = gradio.Slider(1, 8, value=teller.beams, step=1, label="Beams", elem_id="beams")
                button = gradio.Button("Caption", variant="primary", elem_id="run")
            with gradio.Column():
                caption = gradio.Textbox(label="Caption", elem_id="caption", interactive=False)
                score = gradio.Textbox(label="CLAP score", elem_id="score", interactive=False)
                note = gradio.Textbox(label="Heard", elem_id="note", interactive=False)
                model = gradio.Textbox(label="Model", value=model_name(teller.captioner), interactive=False)
                model.elem_id = "model"
        button.click(
            lambda *given: tell(teller, *given),
            inputs=[file, title, video_caption, description, beams],
            outputs=[caption, score, note],
            api_visibility="private",
            concurrency_limit=1,
        )
    return page


def tell(
    teller: Teller, file: str | None, title: str, video_caption: str, description: str, beams: float
) -> tuple[str, str, str]:
    """Caption, score and what was heard; or nothing, and why."""
    from dataclasses import replace

    from captioner.load import Metadata
    from pipeline.caption_files import tell_files
    from pipeline.shown import clock

    if not file:
        return "", "", "give a sound: any rate, any length, mono or stereo"
    metadata = Metadata(title or "", description or "", video_caption or "")
    (told,) = tell_files(replace(teller, beams=min(max(int(beams), 1), 8)), [file], lambda _: metadata)
    if told.caption is None:
        return "", "", f"{told.reason}: {one_line(told.detail, 300)}"
    score = "" if told.score is None else f"{told.score:.3f}"
    return one_line(told.caption), score, f"{clock(told.start_ms)} to {clock(told.end_ms)}"


def _run(app: Any, listening: socket.socket, on_ready: Callable[[], None]) -> None:
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            on_ready()

    Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=2)).run(sockets=[listening])
