"""The one way out: each request, and each redirect, is held to the allowed addresses and to bounded bodies."""

from __future__ import annotations

import gzip
import json
import socket
import zlib
from pathlib import Path

import pytest
import yt_dlp
from yt_dlp.networking import Request

from stages import guarded_http
from stages.faults import Fault
from stages.guard import AddressGuard
from stages.media import Address, YtdlpMedia
from stages.ytdlp_client import YtdlpClient
from stages.ytdlp_options import YtdlpOptions
from stages.ytdlp_session import YtdlpSession

VTT = "WEBVTT\n\n00:02.000 --> 00:04.000\nhello\n"
REFUSED = "http://127.0.0.66:9/x"


@pytest.fixture
def client(plugin_dir: str):
    made = YtdlpClient(options(plugin_dir))
    yield made
    made.close()


def options(plugin_dir: str, **more) -> YtdlpOptions:
    return YtdlpOptions(
        plugin_dirs=(plugin_dir,),
        timeout_s=2,
        retries=0,
        requests_per_s=10_000,
        **{"allow_private_addresses": ("127.0.0.1/32",), **more},
    )


def reason_of(action) -> str:
    with pytest.raises(Fault) as caught:
        action()
    return caught.value.reason


def read(client: YtdlpClient, url: str) -> bytes:
    return client.read_image(url, {}, 1_000_000)


def address(url: str, protocol: str = "http") -> Address:
    return Address(url=url, format_id="0", ext="mp4" if protocol == "m3u8_native" else "ogg", protocol=protocol)


def test_loopback_is_refused_unless_the_recipe_says_otherwise(site, plugin_dir):
    client = YtdlpClient(options(plugin_dir, allow_private_addresses=()))
    assert reason_of(lambda: client.extract(site.watch("rain"))) == "refused_address"
    assert site.asked == []
    client.close()


def test_pages_media_transcripts_and_pictures_are_held_to_the_allowed_addresses(site, client, tmp_path: Path):
    assert reason_of(lambda: client.extract("http://127.0.0.66:9/watch/rain")) == "refused_address"
    assert reason_of(lambda: client.extract("http://2130706498:9/watch/rain")) == "refused_address"
    assert reason_of(lambda: read(client, REFUSED)) == "refused_address"
    media = YtdlpMedia(url=site.watch("rain"), address=address(REFUSED))
    assert reason_of(lambda: client.download_audio(media, tmp_path, "rain")) == "refused_address"
    # A transcript that may not be fetched is not silence, and says nothing of the video.
    dead = site.watch("rain", subtitles={"en": [{"url": REFUSED, "ext": "vtt"}]})
    assert reason_of(lambda: client.extract(dead)) == "transcript_broken"
    assert list(tmp_path.glob("rain/*")) == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_a_refused_address_is_refused(site, client, status: int):
    site.put("/here", b"good")
    site.answers["/away"] = [("redirect", status, REFUSED)]
    site.answers["/near"] = [("redirect", status, site.url + "/here")]
    assert reason_of(lambda: read(client, site.url + "/away")) == "refused_address"
    assert read(client, site.url + "/near") == b"good"


def test_https_is_spoken_by_the_same_handler(site, client):
    """The site speaks no TLS: that it says so shows who was asked, and a refused address is not."""
    assert reason_of(lambda: read(client, site.url.replace("http:", "https:") + "/x")) == "tls"
    assert reason_of(lambda: read(client, REFUSED.replace("http:", "https:"))) == "refused_address"


def test_a_redirect_out_of_http_is_refused(site, client):
    for target in ("file:///etc/passwd", "ftp://127.0.0.1/x"):
        site.answers["/away"] = [("redirect", 302, target)]
        with pytest.raises(Fault):
            read(client, site.url + "/away")


def test_a_redirect_between_two_pages_of_media_is_checked(site, client, tmp_path: Path):
    media = YtdlpMedia(url=site.watch("rain"), address=address(site.url + "/media/rain.ogg"))
    site.answers["/media/rain.ogg"] = [("redirect", 302, REFUSED)]
    assert reason_of(lambda: client.download_audio(media, tmp_path, "rain")) == "refused_address"


def test_fragments_of_a_playlist_are_checked(site, client, tmp_path: Path):
    listed = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{}\n#EXT-X-ENDLIST\n"
    site.put("/list.m3u8", listed.format(REFUSED), "application/vnd.apple.mpegurl")
    media = YtdlpMedia(url=site.watch("rain"), address=address(site.url + "/list.m3u8", "m3u8_native"))
    assert reason_of(lambda: client.download_audio(media, tmp_path, "rain")) == "refused_address"


def test_a_page_cannot_name_a_proxy(site, client, plugin_dir):
    """yt-dlp takes proxies from headers of its own, and headers come from pages."""
    site.put("/here", b"good")
    headers = {"Ytdl-request-proxy": "http://127.0.0.66:9"}
    assert reason_of(lambda: client.read_image(site.url + "/here", headers, 100)) == "refused_address"
    socks = {"Ytdl-socks-proxy": "socks5://127.0.0.66:9"}
    assert client.read_image(site.url + "/here", socks, 100) == b"good"
    session = YtdlpSession(options(plugin_dir))
    director = session._ydl._request_director  # yt-dlp itself takes the header away before: ours does not rely on that
    assert director.send(Request(site.url + "/here", headers=socks)).read() == b"good"
    session.close()


def test_through_a_proxy_the_name_is_checked(site, plugin_dir):
    """The site stands for the proxy: it is asked for the whole address, and never for one inside a network."""
    client = YtdlpClient(options(plugin_dir, proxy=site.url, allow_private_addresses=()))
    site.bodies["http://example.org/x"] = ("text/plain", b"through")
    assert read(client, "http://example.org/x") == b"through"
    for target in ("http://10.0.0.1/x", "http://0x7f.1/", "http://localhost/", "https://169.254.169.254/"):
        assert reason_of(lambda target=target: read(client, target)) == "refused_address"
    assert site.asked == ["http://example.org/x"]
    client.close()


def test_there_is_one_handler_and_no_other(plugin_dir):
    """What yt-dlp would use where it is installed connects by itself: it is not asked."""
    session = YtdlpSession(options(plugin_dir))
    handlers = session._ydl._request_director.handlers
    assert [type(handler) for handler in handlers.values()] == [guarded_http.GuardedRH]
    for url in ("ws://127.0.0.66:9/", "wss://127.0.0.66:9/", "ftp://127.0.0.66/x", "file:///etc/passwd", "rtmp://a/b"):
        assert reason_of(lambda url=url: session.read(url, {}, 10, Fault("too_large", ""))) == "unsupported"
    session.close()


def test_a_name_is_resolved_once_for_each_connection(site):
    port = site.server.server_port
    asked = []

    def resolve(host: str, port: int, *_: int):
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    with yt_dlp.YoutubeDL({"quiet": True, "proxy": ""}) as ydl:
        ydl._request_director = guarded_http.guarded_director(ydl, AddressGuard(["127.0.0.1/32"], resolve))
        site.put("/x", b"by name")
        with ydl.urlopen(f"http://video.example:{port}/x") as answer:
            assert answer.read() == b"by name"
    assert asked == ["video.example"]


# Bodies.


def packed(site, path: str, body: bytes, encoding: str) -> str:
    site.headers[path] = {"Content-Encoding": encoding}
    return site.put(path, body)


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", raw_deflate),
        ("gzip, gzip", lambda body: gzip.compress(gzip.compress(body))),
        ("identity", bytes),
        ("gzip", lambda body: gzip.compress(body) + b"junk after it"),
    ],
)
def test_packed_bodies_are_unpacked(site, client, encoding: str, pack):
    body = b"WEBVTT " * 50_000
    assert read(client, packed(site, "/x", pack(body), encoding)) == body


def test_a_page_that_unpacks_without_end_is_refused_with_little_memory(site, client):
    import tracemalloc

    bomb = gzip.compress(b"a" * 2 * guarded_http.MAX_PAGE_BYTES, 9)
    url = packed(site, "/watch/bomb", bomb, "gzip")
    tracemalloc.start()
    assert reason_of(lambda: client.extract(url)) == "too_large"
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(bomb) < 100_000
    assert peak < 2.5 * guarded_http.MAX_PAGE_BYTES


def test_a_transcript_that_unpacks_without_end_is_refused(site, client):
    url = site.watch("rain", captions=VTT)
    packed(site, "/captions/rain.vtt", gzip.compress(b"WEBVTT\n\n" + b"a" * 20_000_000, 9), "gzip")
    assert reason_of(lambda: client.extract(url)) == "transcript_broken"


def test_media_that_unpacks_without_end_is_refused(site, client, tmp_path: Path):
    url = packed(site, "/media/bomb.ogg", gzip.compress(b"a" * 20_000_000, 9), "gzip")
    media = YtdlpMedia(url=site.watch("rain"), address=address(url))
    assert reason_of(lambda: client.download_audio(media, tmp_path, "rain", max_bytes=1_000_000)) == "too_large"


def test_a_plain_page_larger_than_sense_is_refused(site, client):
    site.put("/watch/long", json.dumps({"title": "x" * (guarded_http.MAX_PAGE_BYTES + 10)}))
    assert reason_of(lambda: client.extract(site.url + "/watch/long")) == "too_large"


@pytest.mark.parametrize("body", [b"no gzip at all", gzip.compress(b"a" * 100_000)[:-20]])
def test_damaged_packing_is_a_fault_that_may_pass(site, client, body: bytes):
    url = packed(site, "/x", body, "gzip")
    assert reason_of(lambda: read(client, url)) in {"network", "truncated"}


def test_a_body_that_breaks_off_is_no_short_body(site, client):
    url = site.put("/captions/rain.vtt", VTT, "text/vtt")
    site.answers["/captions/rain.vtt"] = ["truncated"] * 2
    assert reason_of(lambda: read(client, url)) == "truncated"
    site.answers.clear()
    assert read(client, url) == VTT.encode()
