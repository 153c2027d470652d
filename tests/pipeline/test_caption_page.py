"""autorecap autocap demo, as somebody sees it in a browser: a real one, without a head."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import numpy as np
import pytest
import soundfile

from audio.decode import AudioSource
from captioner import Metadata, load_captioner
from scorer import load_scorer
from tests.demo_pages import browser_at, demo_server, in_a_browser

RATE = 44_100


@pytest.fixture(scope="module")
def gradio():
    return pytest.importorskip("gradio", reason="gradio is not installed: the extra `demo`")


@pytest.fixture(scope="module")
def server(gradio, tmp_path_factory):
    uploads = tmp_path_factory.mktemp("uploads")
    with demo_server(uploads, "autocap", "demo") as address:
        yield address
    assert not list(uploads.rglob("*.wav"))


def get(address, **headers):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return opener.open(urllib.request.Request(address, headers=headers), timeout=30)


def test_the_page_stands_on_this_machine_only_and_forbids_the_browser_to_ask_others(server):
    assert urlsplit(server).hostname == "127.0.0.1"
    answer = get(server)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "http" not in policy
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(server, Host="somewhere.example")
    assert refused.value.code == 400


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """44.1 kHz stereo, longer than a window, the channels unlike each other."""
    rng = np.random.default_rng(5)
    at = np.arange(13 * RATE) / RATE
    left = 0.3 * np.sin(2 * np.pi * 880 * at) * (np.sin(2 * np.pi * 3 * at) > 0)
    wave = np.stack([left, 0.1 * rng.standard_normal(at.size)], axis=1)
    path = tmp_path_factory.mktemp("page") / "beeps.wav"
    soundfile.write(path, wave, RATE, subtype="PCM_16")
    return path


@pytest.mark.slow
@in_a_browser
def test_a_sound_is_uploaded_captioned_and_scored_at_its_own_rate(server, recording, tmp_path):
    (tmp_path / "noise.bin.wav").write_bytes(b"no sound " * 500)
    with browser_at(server) as seen:
        page = seen.page
        page.locator("#sound input[type=file]").set_input_files(str(recording))
        page.locator("#sound audio, #sound #waveform, #sound [data-testid=waveform-beeps]").first.wait_for(
            state="attached"
        )
        page.locator("#title textarea, #title input").fill("The alarm <b>clock</b>")
        page.locator("#video-caption textarea, #video-caption input").fill("a clock on a table")
        page.locator("#beams input[type=number]").fill("3")
        page.locator("#beams input[type=number]").press("Tab")
        page.locator("#run").click()
        shown = page.locator("#caption textarea, #caption input")
        page.wait_for_function("e => e.value.length > 0", arg=shown.element_handle())
        caption, score = shown.input_value(), page.locator("#score textarea, #score input").input_value()
        note = page.locator("#note textarea, #note input").input_value()
        fonts = page.evaluate("getComputedStyle(document.body).fontFamily")

    with AudioSource(recording) as source:
        wave = source.segment(0, 10_000, 16_000)
    scorer = load_scorer()
    told = Metadata(title="The alarm <b>clock</b>", video_caption="a clock on a table")
    (said,) = load_captioner(scorer=scorer).caption([wave], metadata=[told], beams=3)
    assert caption == said.text
    fits = float(scorer.embed_text([said.text])[0] @ scorer.embed_audio([wave])[0])
    assert float(score) == pytest.approx(fits, abs=6e-4)
    assert note == "0:00.0 to 0:10.0"
    assert seen.faults == []
    assert seen.hosts() == {"127.0.0.1"}
    assert not re.search("google|inter", fonts.lower())


def test_what_cannot_be_heard_is_told_on_the_page(tmp_path):
    from pipeline.caption_page import tell
    from pipeline.teller import open_teller

    (tmp_path / "bad\x1b[2J.wav").write_bytes(b"no sound " * 500)
    caption, score, note = tell(open_teller(), str(tmp_path / "bad\x1b[2J.wav"), "", "", "", 2)
    assert (caption, score) == ("", "")
    assert note.startswith("undecodable: ")
    assert tell(open_teller(), None, "", "", "", 2)[2].startswith("give a sound")


def test_without_gradio_it_says_what_to_install(tmp_path):
    (tmp_path / "gradio.py").write_text("raise ImportError('No module named gradio')")
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "autocap", "demo", "--port", "0"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert 'pip install "autorecap[demo]"' in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_told(gradio):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        words = ["-m", "pipeline.cli", "autocap", "demo", "--port", str(taken.getsockname()[1])]
        done = subprocess.run([sys.executable, *words], capture_output=True, text=True)
    assert done.returncode == 2
    assert "already in use" in done.stderr
