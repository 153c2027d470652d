"""yt-dlp against a real site on loopback: few requests, bounded retries, right words for what goes wrong."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.faults import Fault
from stages.governor import Governor
from stages.media import Address, YtdlpMedia
from stages.ytdlp_client import YtdlpClient
from stages.ytdlp_options import YtdlpOptions
from stages.ytdlp_plugins import PluginError, use_plugins

VTT = "WEBVTT\n\n00:02.000 --> 00:04.000\nhello\n\n00:10.000 --> 00:12.000\n[Music]\n"
AUDIO = bytes(range(256)) * 200
LOOPBACK = ("127.0.0.1/32",)


@pytest.fixture(scope="module")
def client(plugin_dir: str):
    options = YtdlpOptions(
        plugin_dirs=(plugin_dir,),
        timeout_s=0.3,
        retries=2,
        backoff_s=0.02,
        cool_down_s=0.02,
        quarantine_s=0.05,
        requests_per_s=10_000,
        allow_private_addresses=LOOPBACK,
    )
    made = YtdlpClient(options)
    yield made
    made.close()


def fault_of(action: Callable[[], object]) -> Fault:
    with pytest.raises(Fault) as caught:
        action()
    return caught.value


def test_one_extraction_and_one_transcript_a_source(site, client):
    info = client.extract(site.watch("rain", captions=VTT, automatic="WEBVTT\n", license="CC BY", uploader="Ann"))
    assert site.asked == ["/watch/rain", "/captions/rain.vtt"]
    assert (info.title, info.description, info.license, info.uploader) == (
        "Video rain",
        "A text.",
        "CC BY",
        "Ann",
    )
    assert (info.transcript_kind, info.transcript_lang, info.duration_ms) == ("manual", "en", 30_000)
    assert info.transcript.covered_ms == [(2000, 4000), (10_000, 12_000)]
    assert info.url == info.media.url == f"{site.url}/watch/rain"


def test_automatic_captions_when_there_are_no_manual_ones(site, client):
    info = client.extract(site.watch("rain", automatic=VTT))
    assert (info.transcript_kind, info.transcript_lang) == ("automatic", "en")


def test_no_transcript_in_a_listed_language(site, client):
    info = client.extract(site.watch("rain", subtitles={"de": [{"url": f"{site.url}/de.vtt", "ext": "vtt"}]}))
    assert info.transcript is None
    assert (info.transcript_kind, info.transcript_lang) == ("none", None)
    assert site.asked == ["/watch/rain"]


def test_the_best_audio_only_format_is_planned_without_secrets(site, client):
    formats = [
        {
            "format_id": "a",
            "url": "/media/rain.ogg?expire=1790000000",
            "ext": "ogg",
            "vcodec": "none",
            "abr": 96,
            "http_headers": {"X-Wanted": "1", "Cookie": "session=secret", "Authorization": "secret"},
            "downloader_options": {"http_chunk_size": 1000},
        },
        {"format_id": "v", "url": "/media/rain.mp4", "ext": "mp4", "acodec": "aac", "vcodec": "h264"},
    ]
    address = client.extract(site.watch("rain", formats=formats)).media.address
    assert address is not None
    assert (address.format_id, address.ext, address.protocol) == ("a", "ogg", "http")
    assert (address.expires_s, address.http_chunk_size) == (1_790_000_000, 1000)
    assert address.http_headers["X-Wanted"] == "1"
    assert "secret" not in repr(address)


def test_the_smallest_format_with_sound_when_none_is_audio_only(site, client):
    formats = [
        {
            "format_id": "big",
            "url": "/big.mp4",
            "ext": "mp4",
            "acodec": "aac",
            "vcodec": "h264",
            "filesize": 900,
        },
        {
            "format_id": "small",
            "url": "/small.mp4",
            "ext": "mp4",
            "acodec": "aac",
            "vcodec": "h264",
            "filesize": 9,
        },
        {
            "format_id": "mute",
            "url": "/mute.mp4",
            "ext": "mp4",
            "acodec": "none",
            "vcodec": "h264",
            "filesize": 1,
        },
    ]
    assert client.extract(site.watch("rain", formats=formats)).media.address.format_id == "small"


def test_no_format_with_sound(site, client):
    formats = [{"format_id": "mute", "url": "/mute.mp4", "ext": "mp4", "acodec": "none", "vcodec": "h264"}]
    url = site.watch("rain", formats=formats)
    assert fault_of(lambda: client.extract(url)).reason == "no_audio"


def test_a_plain_page_with_video_and_track(site, client):
    site.put("/media/x.mp4", AUDIO, "video/mp4")
    site.put("/x.vtt", VTT, "text/vtt")
    track = '<track kind="captions" srclang="en" src="/x.vtt">'
    page = f'<html><head><title>A page</title></head><body><video src="/media/x.mp4">{track}</video>'
    page += "</body></html>"
    info = client.extract(site.put("/page", page, "text/html"))
    assert (info.title, info.duration_ms, info.transcript_kind) == ("A page", None, "manual")
    assert site.asked == ["/page", "/x.vtt"]


@pytest.mark.parametrize(
    ("answers", "reason", "asked"),
    [
        ([404], "gone", 1),
        ([410], "gone", 1),
        ([401], "private", 1),
        ([403, 403], "blocked", 2),
        ([418], "http_other", 1),
        ([500, 502, 503], "http_5xx", 3),
        ([429, 429, 429], "http_429", 3),
    ],
)
def test_refused_pages(site, client, answers, reason: str, asked: int):
    url = site.watch("rain")
    site.answers["/watch/rain"] = answers
    fault = fault_of(lambda: client.extract(url))
    assert (fault.reason, site.times_asked("/watch/rain")) == (reason, asked)


def test_retry_after_is_waited_for_and_then_it_is_good(site, client):
    url = site.watch("rain")
    site.answers["/watch/rain"] = [("retry-after", 429, 1), 500]
    assert client.extract(url).title == "Video rain"
    assert site.times_asked("/watch/rain") == 3
    assert site.asked_at_s[1] - site.asked_at_s[0] >= 1.0


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        ({"says": "Sign in to confirm you're not a bot"}, "blocked"),
        ({"says": "Private video. Sign in if you've been granted access"}, "private"),
        ({"says": "Video unavailable. This video has been removed by the uploader"}, "gone"),
        ({"says": "Sign in to confirm your age"}, "age_restricted"),
        ({"geo": True}, "geo_blocked"),
        ({"broken": True}, "extractor_failed"),
        ({"is_live": True}, "live"),
        ({"formats": [{"format_id": "0", "url": "http://127.0.0.1/x", "has_drm": True}]}, "drm"),
        ({"_type": "playlist", "entries": []}, "playlist"),
    ],
)
def test_what_extractors_say(site, client, page: dict, reason: str):
    url = site.watch("rain", **page)
    assert fault_of(lambda: client.extract(url)).reason == reason


def test_addresses_nobody_can_extract(site, client, tmp_path: Path):
    page = site.put("/page", "<html><body>text only</body></html>", "text/html")
    assert fault_of(lambda: client.extract(page)).reason == "unsupported"
    (tmp_path / "a.ogg").write_bytes(AUDIO)
    assert fault_of(lambda: client.extract(f"file://{tmp_path}/a.ogg")).reason == "unsupported"


def test_nobody_listens(client):
    assert fault_of(lambda: client.extract("http://127.0.0.1:9/watch/rain")).reason == "network"


def test_a_page_that_stalls(site, client):
    url = site.watch("rain")
    site.answers["/watch/rain"] = ["stalled"] * 3
    assert fault_of(lambda: client.extract(url)).reason in {"timeout", "truncated"}
    assert site.times_asked("/watch/rain") == 3


@pytest.mark.parametrize(
    ("body", "answers", "reason"),
    [
        (VTT, [404], "transcript_broken"),
        (VTT, [503] * 3, "http_5xx"),
        (VTT, ["empty"], "transcript_empty"),
        ("<html>an error page</html>", [], "transcript_broken"),
        ("WEBVTT" + "x" * 10_000_001, [], "transcript_broken"),
    ],
)
def test_transcripts_that_cannot_be_read_are_never_silence(site, client, body: str, answers, reason: str):
    url = site.watch("rain", captions=body)
    site.answers["/captions/rain.vtt"] = answers
    assert fault_of(lambda: client.extract(url)).reason == reason


# The download.


def media_of(site, **address) -> YtdlpMedia:
    found = {"url": f"{site.url}/media/rain.ogg", "format_id": "high", "ext": "ogg", "protocol": "http"}
    return YtdlpMedia(url=f"{site.url}/watch/rain", address=Address(**{**found, **address}))


def test_a_valid_address_needs_no_extraction(site, client, tmp_path: Path):
    site.watch("rain", AUDIO)
    path = client.download_audio(media_of(site), tmp_path, "rain")
    assert path == tmp_path / "rain" / "media.ogg"
    assert path.read_bytes() == AUDIO
    assert site.asked == ["/media/rain.ogg"]
    assert [p.name for p in (tmp_path / "rain").iterdir()] == ["media.ogg"]
    assert client.download_audio(media_of(site), tmp_path, "rain") == path
    assert len(site.asked) == 1


def test_an_address_that_has_run_out_is_not_tried(site, client, tmp_path: Path):
    site.watch("rain", AUDIO)
    client.download_audio(media_of(site, expires_s=int(time.time()) - 10), tmp_path, "rain")
    assert site.asked == ["/watch/rain", "/media/rain.ogg"]


@pytest.mark.parametrize("status", [403, 410, 404])
def test_a_refused_address_is_extracted_again_once(site, client, tmp_path: Path, status: int):
    site.watch("rain", AUDIO)
    site.answers["/media/rain.ogg"] = [status]
    assert client.download_audio(media_of(site), tmp_path, "rain").read_bytes() == AUDIO
    assert site.asked == ["/media/rain.ogg", "/watch/rain", "/media/rain.ogg"]


@pytest.mark.parametrize(("status", "reason", "asked"), [(403, "blocked", 4), (410, "gone", 3)])
def test_refused_twice_is_believed(site, client, tmp_path: Path, status: int, reason: str, asked: int):
    site.watch("rain", AUDIO)
    site.answers["/media/rain.ogg"] = [status] * 9
    fault = fault_of(lambda: client.download_audio(media_of(site), tmp_path, "rain"))
    assert (fault.reason, len(site.asked)) == (reason, asked)


def test_a_truncated_body_is_noticed_and_continued(site, client, tmp_path: Path):
    site.watch("rain", AUDIO)
    site.answers["/media/rain.ogg"] = ["truncated", 503]
    assert client.download_audio(media_of(site), tmp_path, "rain").read_bytes() == AUDIO
    assert site.times_asked("/media/rain.ogg") == 3


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        (["truncated"] * 3, "truncated"),
        (["stalled"] * 3, "timeout"),
        (["empty"], "empty_file"),
        ([503] * 3, "http_5xx"),
        ([429] * 3, "http_429"),
    ],
)
def test_downloads_that_fail_leave_nothing_behind(site, client, tmp_path: Path, answers, reason: str):
    site.watch("rain", b"x" * 3_000_000 if reason == "truncated" else AUDIO)
    site.answers["/media/rain.ogg"] = answers
    assert fault_of(lambda: client.download_audio(media_of(site), tmp_path, "rain")).reason == reason
    assert list((tmp_path / "rain").iterdir()) == []


def test_limits_of_size_and_time(site, client, tmp_path: Path):
    site.watch("rain", b"x" * 400_000)
    media = media_of(site)
    assert fault_of(lambda: client.download_audio(media, tmp_path, "a", max_bytes=100_000)).reason == "too_large"
    assert fault_of(lambda: client.download_audio(media, tmp_path, "b", max_s=0.0)).reason == "too_slow"


def test_odd_names_from_a_site_reach_no_path(site, client, tmp_path: Path):
    formats = [{"format_id": "a/../..", "url": "/media/rain.ogg", "ext": "../../evil", "vcodec": "none"}]
    url = site.watch("rain", AUDIO, formats=formats, title="../../../etc/passwd" + "x" * 300)
    path = client.download_audio(YtdlpMedia(url=url), tmp_path, "rain")
    assert path.parent == tmp_path / "rain"
    assert path.read_bytes() == AUDIO
    with pytest.raises(ValueError, match="not a source id"):
        client.download_audio(YtdlpMedia(url=url), tmp_path, "../rain")


def test_requests_are_paced(site, plugin_dir: str):
    url = site.watch("rain", captions=VTT)
    options = YtdlpOptions(plugin_dirs=(plugin_dir,), requests_per_s=5, allow_private_addresses=LOOPBACK)
    paced = YtdlpClient(options, governor=Governor())
    for _ in range(2):
        paced.extract(url)
    times = site.asked_at_s
    assert len(times) == 4
    assert times[3] - times[0] >= 0.4


def test_without_the_folder_no_plugin_is_loaded(site, client, plugin_dir: str):
    url = site.put("/watch/rain", json.dumps({"says": "<html>, but through the plugin"}), "text/html")
    with_plugin = YtdlpClient(
        YtdlpOptions(plugin_dirs=(plugin_dir,), requests_per_s=1000, allow_private_addresses=LOOPBACK)
    )
    assert "through the plugin" in fault_of(lambda: with_plugin.extract(url)).detail
    site.put("/watch/rain", "<html><body>a page</body></html>", "text/html")
    without = YtdlpClient(YtdlpOptions(requests_per_s=1000, allow_private_addresses=LOOPBACK))
    assert fault_of(lambda: without.extract(url)).reason == "unsupported"
    use_plugins([plugin_dir])


def test_a_folder_without_plugins_is_refused(tmp_path: Path):
    with pytest.raises(PluginError, match="holds no plugins"):
        YtdlpClient(YtdlpOptions(plugin_dirs=(str(tmp_path),)))


def test_cookies_are_read_and_never_written_back(site, tmp_path: Path):
    cookies = tmp_path / "cookies.txt"
    text = "# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t0\tsession\tsecret\n"
    cookies.write_text(text)
    with_cookies = YtdlpClient(
        YtdlpOptions(cookies_file=str(cookies), requests_per_s=1000, allow_private_addresses=LOOPBACK)
    )
    with_cookies.close()
    assert cookies.read_text() == text


@pytest.mark.parametrize("method", ["SAMPLE-AES", "AES-128"])
def test_a_playlist_is_never_handed_to_an_ffmpeg_of_the_machine(site, client, tmp_path, monkeypatch, method):
    """What yt-dlp cannot do by itself is `unsupported`; AES-128 it can, so its key is asked for."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "ffmpeg"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/was-run\necho ffmpeg version 7.1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    playlist = f'#EXTM3U\n#EXT-X-KEY:METHOD={method},URI="key"\n#EXTINF:5,\nrain0.ts\n#EXT-X-ENDLIST\n'
    address = Address(url=site.put("/media/rain.m3u8", playlist), format_id="h", ext="mp4", protocol="m3u8_native")
    fault = fault_of(lambda: client.download_audio(YtdlpMedia(url=site.url, address=address), tmp_path / "c", "rain"))
    assert fault.reason == ("unsupported" if method == "SAMPLE-AES" else "gone"), fault
    assert not (tmp_path / "was-run").exists()
