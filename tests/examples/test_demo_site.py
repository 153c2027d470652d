"""The demo's site: its server over real HTTP, its media, captions and truth, and what yt-dlp makes of it."""

from __future__ import annotations

import http.client
import itertools
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from examples.demo.server import HERE, DemoSite, NotSatisfiable, byte_range

MEDIA = HERE / "media"
SITE = json.loads((MEDIA / "site.json").read_text())
SOURCES: dict[str, dict[str, Any]] = SITE["sources"]
TRUTH = [json.loads(line) for line in (MEDIA / "truth.jsonl").read_text().splitlines()]
BROKEN = {"corrupt__24", "zerolen__25"}
FORMATS = [(i, form) for i, source in SOURCES.items() if i not in BROKEN for form in source["formats"]]
TRACKS = [
    (i, track)
    for i, source in SOURCES.items()
    for kind in ("subtitles", "automatic_captions")
    for tracks in source[kind].values()
    for track in tracks
]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[DemoSite]:
    with DemoSite(log=tmp_path / "requests.jsonl") as site:
        yield site


def ask(site: DemoSite, path: str, method: str = "GET", **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=10)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): text for name, text in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


# the server


def test_a_file_is_served_whole_and_in_ranges(site: DemoSite) -> None:
    path, body = "/media/duckpond_01.m4a", (MEDIA / "files/duckpond_01.m4a").read_bytes()
    status, headers, got = ask(site, path)
    assert (status, got, headers["Accept-Ranges"], headers["Content-Type"]) == (200, body, "bytes", "audio/mp4")

    status, headers, got = ask(site, path, Range="bytes=100-299")
    assert (status, got) == (206, body[100:300])
    assert headers["Content-Range"] == f"bytes 100-299/{len(body)}"

    assert ask(site, path, Range="bytes=-50")[2] == body[-50:]
    assert ask(site, path, Range=f"bytes={len(body) - 5}-99999999")[2] == body[-5:]
    status, headers, _ = ask(site, path, Range=f"bytes={len(body)}-")
    assert (status, headers["Content-Range"]) == (416, f"bytes */{len(body)}")


def test_head_says_the_length_and_sends_nothing(site: DemoSite) -> None:
    status, headers, got = ask(site, "/media/brookside10.wav", "HEAD")
    assert (status, got) == (200, b"")
    assert int(headers["Content-Length"]) == (MEDIA / "files/brookside10.wav").stat().st_size
    assert headers["Content-Type"] == "audio/wav"


@pytest.mark.parametrize(
    ("header", "expected"),
    [(None, None), ("bytes=0-", (0, 9)), ("bytes=3-3", (3, 3)), ("bytes=-4", (6, 9)), ("bytes=5-2", None),
     ("bytes=0-1,4-5", None), ("bytes=-", None), ("lines=1-2", None), ("bytes=-99", (0, 9))],
)  # fmt: skip
def test_byte_ranges(header: str | None, expected: tuple[int, int] | None) -> None:
    assert byte_range(header, 10) == expected


def test_a_range_outside_is_not_satisfiable() -> None:
    for header in ("bytes=10-", "bytes=-0", "bytes=10-12"):
        with pytest.raises(NotSatisfiable):
            byte_range(header, 10)


def test_too_many_requests_twice_and_then_good(site: DemoSite) -> None:
    answers = [ask(site, "/media/ratelimit21.m4a") for _ in range(3)]
    assert [status for status, _, _ in answers] == [429, 429, 200]
    assert [headers["Retry-After"] for _, headers, _ in answers] == ["1", "1", None]
    assert len(answers[2][2]) == (MEDIA / "files/ratelimit21.m4a").stat().st_size


def test_counters_belong_to_one_site() -> None:
    for _ in range(2):
        with DemoSite() as site:
            assert [ask(site, "/media/expired__27.m4a")[0] for _ in range(2)] == [403, 200]


def test_bytes_after_the_cut_never_come(site: DemoSite) -> None:
    path, size = "/media/truncated22.m4a", (MEDIA / "files/truncated22.m4a").stat().st_size
    with pytest.raises(http.client.IncompleteRead) as whole:
        ask(site, path)
    assert len(whole.value.partial) == size // 2
    assert whole.value.expected == size - size // 2
    with pytest.raises(http.client.IncompleteRead) as rest:
        ask(site, path, Range=f"bytes={size // 2}-")
    assert rest.value.partial == b""


def test_a_slow_body_dribbles_and_is_complete(site: DemoSite) -> None:
    started = time.monotonic()
    _, _, got = ask(site, "/media/slowbody_23.m4a")
    assert 2.0 < time.monotonic() - started < 5.0
    assert got == (MEDIA / "files/slowbody_23.m4a").read_bytes()


@pytest.mark.parametrize(
    "path",
    ["/media/../site.json", "/media/..%2fsite.json", "/media/%2e%2e/%2e%2e/server.py", "/captions/../../README.md",
     "/media//etc/passwd", "/media/", "/media", "/media/no.mp4", "/api/duckpond_01", "/api/../site.json", "/nothing"],
)  # fmt: skip
def test_nothing_outside_is_served(site: DemoSite, path: str) -> None:
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as raw:  # a client that cleans no paths
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert raw.makefile("rb").readline().split()[1] == b"404"


def test_gone_pages_and_media(site: DemoSite) -> None:
    assert ask(site, "/watch/gone_404_xx")[0] == ask(site, "/api/gone_404_xx.json")[0] == 404
    assert ask(site, "/watch/gone_410_xx")[0] == ask(site, "/api/gone_410_xx.json")[0] == 410
    assert ask(site, "/api/mediagone26.json")[0] == 200
    assert ask(site, "/media/mediagone26.m4a")[0] == 404


def test_pages_and_metadata(site: DemoSite) -> None:
    status, headers, page = ask(site, "/watch/nachtwald_6")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert b"Nacht im Wald" in page
    told = json.loads(ask(site, "/api/nachtwald_6.json")[2])
    assert told["subtitles"]["de"][0]["url"] == f"{site.url}/captions/nachtwald_6.de.vtt"
    assert ask(site, "/captions/nachtwald_6.de.vtt")[1]["Content-Type"] == "text/vtt; charset=utf-8"
    assert b"duckpond_01" in ask(site, "/")[2]


def test_every_request_is_logged(site: DemoSite, tmp_path: Path) -> None:
    ask(site, "/media/duckpond_01.m4a", Range="bytes=0-1")
    ask(site, "/nothing", "HEAD")
    lines = [json.loads(line) for line in (tmp_path / "requests.jsonl").read_text().splitlines()]
    assert lines == [
        {"method": "GET", "path": "/media/duckpond_01.m4a", "range": "bytes=0-1", "status": 206},
        {"method": "HEAD", "path": "/nothing", "range": None, "status": 404},
    ]
    assert [request.path for request in site.requests] == [line["path"] for line in lines]


def test_the_server_runs_by_itself(tmp_path: Path) -> None:
    port_file = tmp_path / "port"
    command = [sys.executable, str(HERE / "server.py"), "--port", "0", "--port-file", str(port_file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline().strip()
            assert said == f"http://127.0.0.1:{int(port_file.read_text())}"
            connection = http.client.HTTPConnection(said.removeprefix("http://"), timeout=10)
            connection.request("GET", "/api/duckpond_01.json")
            assert connection.getresponse().status == 200
            connection.close()
        finally:
            process.terminate()


# the media


@pytest.mark.parametrize(("source_id", "form"), FORMATS, ids=[f"{i}.{form['ext']}" for i, form in FORMATS])
def test_media_is_what_the_metadata_says(source_id: str, form: dict[str, Any]) -> None:
    file = MEDIA / "files" / f"{source_id}.{form['ext']}"
    assert file.stat().st_size == form["filesize"]
    with av.open(str(file)) as container:
        assert bool(container.streams.video) == (form["vcodec"] != "none")
        assert bool(container.streams.audio) == (form["acodec"] != "none")
        if said := SOURCES[source_id]["duration"]:
            assert container.duration / 1e6 == pytest.approx(said, abs=0.3)  # pictures come every 0.25 s
        for stream in container.streams.audio:
            assert stream.codec_context.name.removesuffix("float") == form["acodec"]
            assert (stream.rate, stream.channels) == (form["asr"], form["audio_channels"])


def test_broken_files_do_not_open() -> None:
    assert (MEDIA / "files/zerolen__25.mp4").stat().st_size == 0
    for source_id in BROKEN:
        with pytest.raises(av.error.FFmpegError):
            av.open(str(MEDIA / "files" / f"{source_id}.mp4"))


def test_the_kinds_of_media_that_sites_have() -> None:
    assert next(form for _, form in FORMATS if form["audio_channels"] == 6)["asr"] == 44_100
    assert [form["acodec"] for _, form in FORMATS if form.get("asr") == 8_000] == ["pcm_s16le"]
    assert [i for i, form in FORMATS if form["acodec"] == "none"] == ["silent_film"]
    assert {form["ext"] for _, form in FORMATS} == {"mp4", "m4a", "webm", "wav", "ogg", "opus", "mp3", "flac"}
    assert all(re.fullmatch(r"[0-9A-Za-z_-]{11}", i) for i in SOURCES)


def test_real_sounds_are_audible_where_the_truth_says() -> None:
    for source_id in ("duckpond_01", "workshop_04", "phonebooth7", "doorstudies"):
        wave = _decoded(MEDIA / "files" / f"{source_id}.{SOURCES[source_id]['formats'][-1]['ext']}")
        for line in (line for line in TRUTH if line["source_id"] == source_id and line["kind"] == "sound"):
            part = wave[line["start_ms"] * 8 : line["end_ms"] * 8]
            assert 10 * np.log10((part.astype(np.float64) ** 2).mean() + 1e-12) > -40.0, line


def _decoded(file: Path) -> np.ndarray:
    """Mono at 8 kHz: eight samples a millisecond."""
    with av.open(str(file)) as container:
        to_8k = av.AudioResampler(format="flt", layout="mono", rate=8_000)
        parts = [out.to_ndarray()[0] for frame in container.decode(audio=0) for out in to_8k.resample(frame)]
    return np.concatenate(parts)


def test_the_media_stays_small() -> None:
    files = [file for folder in (MEDIA, HERE / "folder") for file in folder.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= 14 * 1024 * 1024


def test_every_recording_has_its_licence() -> None:
    text = (MEDIA / "LICENSES.md").read_text()
    for line in TRUTH:
        if "package" in line:
            assert f"| {line['source_id']} | {line['package']} | `{line['file']}` |" in text
            assert f"\n| {line['package']} | " in text
    listed = {line["source_id"] for line in TRUTH} | {"silent_film", *BROKEN}
    assert listed == set(SOURCES) | {f"folder/{name}" for name in ("kitchen_tap.ogg", "typing.wav", "crickets.mp3")}


# captions against the truth

Span = tuple[int, int]
_CLOCK = re.compile(r"(?:(\d+):)?(\d\d):(\d\d)[.,](\d{3}) --> (?:(\d+):)?(\d\d):(\d\d)[.,](\d{3})")


def read_by_hand(track: dict[str, str]) -> list[Span]:
    """The spans of a track, merged; no code of the pipeline."""
    text = (MEDIA / track["url"].lstrip("/")).read_text(encoding="utf-8-sig")
    if track["ext"] == "json3":
        events = [event for event in json.loads(text)["events"] if "segs" in event and not event.get("aAppend")]
        spans = [(event["tStartMs"], event["tStartMs"] + event["dDurationMs"]) for event in events]
    else:
        clocks = [[int(part or 0) for part in found] for found in _CLOCK.findall(text)]
        assert len(clocks) == text.count("-->")
        ms = [[((c[k] * 60 + c[k + 1]) * 60 + c[k + 2]) * 1000 + c[k + 3] for k in (0, 4)] for c in clocks]
        spans = [(start, end) for start, end in ms]
    merged: list[Span] = []
    for start, end in sorted(spans):
        assert start < end
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


@pytest.mark.parametrize(("source_id", "track"), TRACKS, ids=[track["url"].split("/")[-1] for _, track in TRACKS])
def test_captions_agree_with_the_truth(source_id: str, track: dict[str, str]) -> None:
    cover = read_by_hand(track)
    mine = [line for line in TRUTH if line["source_id"] == source_id]
    for line in mine:
        start, end = line["start_ms"], line["end_ms"]
        if line["kind"] == "sound":  # outside all captions, or whole inside one ("[Music]")
            inside = any(a <= start and end <= b for a, b in cover)
            assert inside or all(end <= a or b <= start for a, b in cover), line
        elif line["kind"] == "word":
            assert any(a <= start and end <= b for a, b in cover), line
        else:  # espeak's last word may end a little before the voice has faded
            assert any(a <= start and end <= b + 20 for a, b in cover), line
    spoken = [line for line in mine if line["kind"] == "sentence"]
    sounds = [line for line in mine if line["kind"] == "sound"]
    assert len(spoken) >= 3
    assert len(sounds) >= 5 or source_id == "nonstop_t09"


def test_sounds_under_music_captions_are_only_the_music() -> None:
    cover = read_by_hand({"ext": "vtt", "url": "/captions/music_hall5.en.vtt"})
    under = [
        line["label_text"]
        for line in TRUTH
        if line["source_id"] == "music_hall5" and line["kind"] == "sound"
        if any(a <= line["start_ms"] and line["end_ms"] <= b for a, b in cover)
    ]
    assert set(under) == {"medieval music", "xylophone music"}


def test_gaps_between_sentences_are_as_long_as_planned() -> None:
    spans = [read_by_hand(track) for i, track in TRACKS if i != "nonstop_t09"]
    long_gaps = [b[0] - a[1] for cover in spans for a, b in itertools.pairwise(cover) if b[0] - a[1] > 1000]
    assert min(long_gaps) >= 2_000
    assert max(long_gaps) <= 14_000
    (whole,) = [track for i, track in TRACKS if i == "nonstop_t09"]
    cover = [(0, 0), *read_by_hand(whole), (int(SOURCES["nonstop_t09"]["duration"] * 1000),) * 2]
    assert all(b[0] - a[1] <= 1000 for a, b in itertools.pairwise(cover))


def test_automatic_captions_roll() -> None:
    rolling = json.loads((MEDIA / "captions/kitchen-day.en.auto.json3").read_text())["events"]
    said = [event for event in rolling if "segs" in event]
    assert any(event.get("aAppend") for event in said)
    assert any("tOffsetMs" in segment for event in said for segment in event["segs"])
    assert any(b["tStartMs"] < a["tStartMs"] + a["dDurationMs"] for a, b in itertools.pairwise(said))
    vtt = (MEDIA / "captions/workshop_04.en.auto.vtt").read_text()
    assert vtt.count("We begin with an axe\n") == 2  # alone, and above the next line
    assert "<c> begin</c>" in vtt


# the lists


def test_the_list_names_every_source_once_and_one_twice(tmp_path: Path) -> None:
    lines = (HERE / "sources.txt").read_text().splitlines()
    urls = [line for line in lines if line and not line.startswith("#")]
    ids = [url.removeprefix("http://127.0.0.1:8765/watch/") for url in urls]
    assert sorted(ids) == sorted([*SOURCES, "gone_404_xx", "gone_410_xx", "duckpond_01"])
    with DemoSite() as site:
        moved = site.write_sources(tmp_path / "sources.txt").read_text()
        assert moved.count(f"127.0.0.1:{site.port}/watch/") == len(urls)


def test_the_local_folder() -> None:
    files = sorted(file.name for file in (HERE / "folder").iterdir())
    assert files == ["crickets.mp3", "kitchen_tap.json", "kitchen_tap.ogg", "typing.wav"]
    sidecar = json.loads((HERE / "folder/kitchen_tap.json").read_text())
    assert {"title", "description", "license", "tags", "video_caption"} <= set(sidecar)


# yt-dlp, in a process of its own: plugins are global to a process

_EXTRACT = """
import json, sys
from yt_dlp.globals import plugin_dirs
plugin_dirs.value = [sys.argv[1]]
from yt_dlp import YoutubeDL
told = {}
with YoutubeDL({"quiet": True, "no_warnings": True}) as client:
    for url in sys.argv[2:]:
        try:
            told[url[-11:]] = client.sanitize_info(client.extract_info(url, download=False, process=False))
        except Exception as error:
            told[url[-11:]] = str(error)
print(json.dumps(told))
"""


def test_ytdlp_finds_the_plugin_and_sees_a_youtube_like_answer(site: DemoSite) -> None:
    ids = ("duckpond_01", "kitchen-day", "nachtwald_6", "gone_404_xx", "gone_410_xx")
    urls = [site.watch_url(i) for i in ids]
    command = [sys.executable, "-c", _EXTRACT, str(HERE / "ytdlp_plugins"), *urls]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    told = json.loads(done.stdout.splitlines()[-1])

    pond = told["duckpond_01"]
    assert (pond["id"], pond["extractor_key"]) == ("duckpond_01", "DemoSite")
    assert (pond["title"], pond["duration"]) == ("Morning at the duck pond", SOURCES["duckpond_01"]["duration"])
    assert pond["license"].startswith("Creative Commons")
    audio_only = [form["format_id"] for form in pond["formats"] if form["vcodec"] == "none"]
    assert sorted(audio_only) == ["140", "251"]
    assert pond["subtitles"]["en"][0]["ext"] == "vtt"
    assert pond["automatic_captions"]["en"][0]["ext"] == "json3"
    assert told["kitchen-day"]["subtitles"] == {}
    assert set(told["nachtwald_6"]["subtitles"]) == {"de", "en"}
    assert "HTTP Error 404" in told["gone_404_xx"]
    assert "HTTP Error 410" in told["gone_410_xx"]
    assert not any(request.path.startswith("/media/") for request in site.requests)
