"""A whole run with a proxy's password and a cookie: grep finds neither in anything that it has written or said."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from pipeline.config import RecipeError, load_recipe
from pipeline.legjob import summary
from pipeline.verbs import again
from pipeline.wave import _event
from pipeline.worker import UnitTally
from stages.secrets import Mask

ROOT = Path(__file__).resolve().parents[2]
USER, PASSWORD, COOKIE = "proxy-user", "hush-pass-word", "cookie-value-9f3"


class Proxy(BaseHTTPRequestHandler):
    """Passes GETs on, and notes who came with what."""

    seen: list[tuple[str | None, str | None]] = []

    def do_GET(self) -> None:
        self.seen.append((self.headers.get("Proxy-Authorization"), self.headers.get("Cookie")))
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(self.path) as answer:
                status, kind, body = answer.status, answer.headers["Content-Type"], answer.read()
        except urllib.error.HTTPError as error:
            status, kind, body = error.code, "text/plain", b""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Silent."""


@pytest.fixture
def proxy() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://{USER}:{PASSWORD}@127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def ray_folder() -> Iterator[Path]:
    """Ray's own logs; its sockets want a short path."""
    folder = Path(tempfile.mkdtemp(prefix="ar", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_no_file_and_no_line_of_a_run_holds_a_secret(site, proxy: str, plugin_dir: str, tmp_path: Path, ray_folder):
    cookies = tmp_path / "cookies.txt"
    cookies.write_text(f"# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t0\tsession\t{COOKIE}\n")
    site.watch("fine")
    site.watch("echo", says=f"Video unavailable. You are {proxy} with {COOKIE}")
    gone = [f"{site.url}/watch/{name}" for name in ("fine", "echo", "none")]
    ytdlp = {
        "plugin_dirs": [plugin_dir],
        "sessions": [{"name": "away", "proxy": proxy, "cookies_file": str(cookies)}],
        **{"timeout_s": 5, "retries": 1, "backoff_s": 0.02, "requests_per_s": 1000},
        "allow_private_addresses": ["127.0.0.1/32"],
    }
    recipe = {
        "name": "secrets",
        "run": str(tmp_path / "run"),
        "sources": [{"type": "urls", "items": gone}],
        "plan": {"without_transcript": "grid"},
        "ytdlp": ytdlp,
        "legs": {"fetch": {"stages": [{"use": "fetch", "ranges": "never"}, {"use": "cut"}]}},
        "execution": {"log_level": "DEBUG", "cpus": 1},
    }
    config = tmp_path / "secrets.yaml"
    config.write_text(yaml.safe_dump(recipe))
    said = autorecap(ray_folder, "plan", config)
    said += autorecap(ray_folder, "run", config)
    with pytest.raises(RecipeError) as mistake:
        load_recipe(config, [f"ytdlp.sessions.0.proxy={{hidden: {PASSWORD}}}"])
    said += str(mistake.value)
    basic = {authorization for authorization, _ in Proxy.seen}
    assert len(basic) == 1, "it did go through the proxy"
    assert {f"session={COOKIE}"} == {cookie for _, cookie in Proxy.seen}
    assert "failed/gone" in said
    assert any(path.is_file() for path in ray_folder.rglob("*")), "Ray did start, and wrote"
    token = str(basic.pop()).partition(" ")[2]
    for secret in (PASSWORD, COOKIE, token):
        assert secret not in said
        assert holding(tmp_path / "run", secret) == []
        assert holding(ray_folder, secret) == []
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert "ytdlp" not in record


def test_a_command_to_type_again_leaves_the_proxy_out():
    told = again(
        "run", "a.yaml", [f"ytdlp.proxy=http://a:{PASSWORD}@b", "plan.unit_clips=4", f"ytdlp.sessions=[{COOKIE}]"]
    )
    assert told == "autorecap run a.yaml --set ytdlp.proxy=... --set plan.unit_clips=4 --set ytdlp.sessions=..."


def autorecap(ray_folder: Path, *words: object) -> str:
    """What the command says, whatever it thinks of it."""
    environment = {**os.environ, "RAY_TMPDIR": str(ray_folder)}
    command = [sys.executable, "-m", "pipeline.cli", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
    return done.stdout + done.stderr


def holding(folder: Path, secret: str) -> list[str]:
    """The files below a folder that hold it."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return [str(path.relative_to(folder)) for path in files if secret.encode() in path.read_bytes()]


def test_what_a_stage_raises_is_masked_before_anybody_is_told():
    tally = UnitTally("00000-00001", error="stage mine: cannot reach me:hush-hush@proxy", stop="me:hush-hush@proxy")
    row = summary(tally, won=False, outcomes={}, audio_ms=0).to_pylist()[0]
    event = _event("fetch", row, {"00000-00001": 4}, Mask.of(proxy="http://me:hush-hush@proxy"))
    assert (event.error, event.tally.stop) == ("stage mine: cannot reach ***@proxy", "***@proxy")
