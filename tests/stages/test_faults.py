"""Exceptions as real libraries raise them, and the words they become."""

from __future__ import annotations

import errno
import pickle
import socket
import ssl
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from stages import faults
from stages.faults import RULES, Fault, classify, classify_file, from_status, sentence


def raised(action) -> BaseException:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        action()
    return caught.value


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (404, "gone"),
        (410, "gone"),
        (403, "blocked"),
        (429, "http_429"),
        (503, "http_5xx"),
        (401, "private"),
        (418, "http_other"),
    ],
)
def test_answers_of_a_real_server_through_urllib(site, status: int, reason: str):
    site.answers["/a"] = [status]
    error = raised(lambda: urllib.request.urlopen(site.url + "/a", timeout=2))
    assert isinstance(error, urllib.error.HTTPError)
    assert classify(error).reason == reason


def test_retry_after_is_read(site):
    site.answers["/a"] = [("retry-after", 429, 17), ("retry-after", 503, "soon")]
    assert classify(raised(lambda: urllib.request.urlopen(site.url + "/a"))).retry_after_s == 17
    assert classify(raised(lambda: urllib.request.urlopen(site.url + "/a"))).retry_after_s is None


def test_connections_that_fail(site):
    assert classify(raised(lambda: urllib.request.urlopen("http://127.0.0.1:9/", timeout=2))).reason == "network"
    assert classify(raised(lambda: socket.create_connection(("127.0.0.1", 9), timeout=2))).reason == "network"
    site.put("/a", b"x" * 100)
    site.answers["/a"] = ["stalled", "truncated"]
    slow = raised(lambda: urllib.request.urlopen(site.url + "/a", timeout=0.1).read())
    assert classify(slow).reason == "timeout"
    short = raised(lambda: urllib.request.urlopen(site.url + "/a", timeout=2).read())
    assert classify(short).reason == "truncated"
    plain = site.url.replace("http://", "https://")
    assert classify(raised(lambda: urllib.request.urlopen(plain, timeout=2))).reason == "tls"
    assert classify(ssl.SSLCertVerificationError("self-signed")).reason == "tls"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ERROR: [youtube] abc: Sign in to confirm you’re not a bot. Use --cookies", "blocked"),
        ("ERROR: [youtube] abc: Private video. Sign in if you've been granted access to this video", "private"),
        ("ERROR: [youtube] abc: Join this channel to get access to members-only content", "private"),
        (
            "ERROR: [youtube] abc: Sign in to confirm your age. This video may be inappropriate for some users.",
            "age_restricted",
        ),
        (
            "ERROR: [youtube] abc: Video unavailable. The uploader has not made this video available in your country",
            "geo_blocked",
        ),
        ("ERROR: [youtube] abc: Video unavailable", "gone"),
        ("ERROR: [youtube] abc: This video has been removed for violating YouTube's Terms of Service", "gone"),
        (
            "ERROR: [youtube] abc: This video is no longer available because the YouTube account has been terminated",
            "gone",
        ),
        ("ERROR: [youtube] abc: Premieres in 3 hours", "live"),
        ("ERROR: [x] abc: This video is DRM protected", "drm"),
        ("ERROR: Unsupported URL: http://127.0.0.1/", "unsupported"),
        ("ERROR: [download] Got error: HTTP Error 503: Service Unavailable", "http_5xx"),
        ("ERROR: [x] something nobody has seen before", "extractor_failed"),
    ],
)
def test_what_sites_say_in_words(text: str, reason: str):
    from yt_dlp.utils import DownloadError

    assert classify(DownloadError(text)).reason == reason


def test_a_bot_check_after_a_404_is_a_block_and_not_a_dead_video():
    from yt_dlp.utils import ExtractorError

    cause = urllib.error.HTTPError("http://127.0.0.1/", 404, "Not Found", {}, None)
    error = ExtractorError("Sign in to confirm you're not a bot", expected=True, cause=cause)
    assert classify(error).reason == "blocked"


def test_a_chain_that_bites_its_tail_ends():
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert classify(first).reason == "extractor_failed"


def test_every_reason_of_the_table_has_a_rule_and_back():
    rows = [line.split("|")[1:4] for line in (faults.__doc__ or "").splitlines() if line.startswith("| `")]
    table = {
        name.strip(" `"): (transient.strip(), again.strip())
        for names, transient, again in rows
        for name in names.split(",")
    }
    assert table == {name: tuple("yes" if flag else "no" for flag in rule) for name, rule in RULES.items()}


def test_faults_travel_between_processes():
    fault = pickle.loads(pickle.dumps(Fault("http_429", "busy", retry_after_s=3)))
    assert (fault.reason, fault.detail, fault.retry_after_s, fault.transient) == ("http_429", "busy", 3, True)


def test_details_are_one_clean_line():
    text = (
        "\x1b[0;31mERROR:\x1b[0m [x] it broke <Conn object at 0x7f00aa>\n twice; please report this issue on  https://a"
    )
    assert sentence(text) == "[x] it broke <Conn object> twice"
    assert len(sentence("x " * 1000)) <= faults.MAX_DETAIL
    assert sentence("a\x1b]0;title\x07 \u202eb\0\x1b[2J") == "a ]0;title b [2J"


def test_files(tmp_path: Path):
    assert classify_file(raised(lambda: (tmp_path / "none").open()), "it").reason == "gone"
    assert classify_file(raised(lambda: tmp_path.open()), "it").reason == "unreadable"
    assert classify_file(PermissionError(), "it").reason == "unreadable"
    assert classify_file(OSError(errno.EIO, "from a store"), "it", remote=True).reason == "network"
    with pytest.raises(OSError, match="No space left"):
        classify_file(OSError(errno.ENOSPC, "No space left on device"), "it")


def test_statuses():
    assert {from_status(code).reason for code in range(500, 600)} == {"http_5xx"}
    assert from_status(451).reason == "geo_blocked"
