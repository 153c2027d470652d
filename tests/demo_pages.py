"""The pages of `autocap demo` and `genau demo` as somebody sees them: a server that asks nobody, a headless browser."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (apt-get install chromium)")

#: The demo in a process of its own that writes down whatever it would ask of others, and lets none of it out.
SERVER = """
import sys
def hook(event, args):
    if event == "socket.getaddrinfo" and args[0] not in (None, "", "127.0.0.1", "localhost", b"127.0.0.1"):
        tell(f"ASKED {args[0]!r}")
    if event == "socket.connect" and isinstance(args[1], tuple) and args[1][0] not in ("127.0.0.1", "::1"):
        tell(f"ASKED {args[1]!r}")
def tell(line):
    print(line, flush=True)
    raise OSError("the demo asks nobody")
sys.addaudithook(hook)
from pipeline.cli import main
main(sys.argv[1:])
"""


@contextmanager
def demo_server(temporary, *words):
    """The address of `autorecap WORDS --port 0` while the block runs; then it has asked nobody and ended when told."""
    env = {**os.environ, "TMPDIR": str(temporary)}
    command = [sys.executable, "-c", SERVER, *words, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env) as process:
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith("http"):
                break
        else:
            pytest.fail("the demo did not start:\n" + "".join(said))
        yield said[-1].split()[0]
        process.terminate()
        said += process.stdout.readlines()
    assert process.returncode == 128 + signal.SIGTERM, said
    assert not [line for line in said if line.startswith("ASKED")], said


@dataclass
class Seen:
    """`page`: Playwright's. What the browser asked for, and the faults of the page's own scripts."""

    page: Any
    asked: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def hosts(self):
        return {urlsplit(url).hostname for url in self.asked if not url.startswith(("data:", "blob:"))}


@contextmanager
def browser_at(address):
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: the extra `dev`")
    with sync_api.sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-dev-shm-usage", "--no-proxy-server"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        seen = Seen(browser.new_page())
        seen.page.set_default_timeout(120_000)
        seen.page.on("request", lambda request: seen.asked.append(request.url))
        seen.page.on("pageerror", lambda error: seen.faults.append(str(error)))
        seen.page.goto(address)
        yield seen
        browser.close()
