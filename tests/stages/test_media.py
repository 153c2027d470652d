"""The plan's `media` column: what goes in comes out, and nothing secret goes in."""

from __future__ import annotations

import json

import pytest

from stages.media import Address, FileMedia, YtdlpMedia, address_of, expiry_s, from_json, to_json

ADDRESS = Address(
    url="http://127.0.0.1/a?expire=1790000000", format_id="140", ext="m4a", protocol="http", expires_s=1_790_000_000
)


@pytest.mark.parametrize(
    "media",
    [
        FileMedia(path="/sounds/ü.ogg"),
        YtdlpMedia(url="http://127.0.0.1/w"),
        YtdlpMedia(url="http://127.0.0.1/w", address=ADDRESS),
    ],
)
def test_there_and_back(media):
    assert from_json(to_json(media)) == media
    assert to_json(from_json(to_json(media))) == to_json(media)


@pytest.mark.parametrize("text", ['{"kind": "other"}', "[]", '{"kind": "file", "pfad": "x"}', "{", '{"kind": "file"}'])
def test_other_texts_are_refused(text: str):
    with pytest.raises(ValueError):  # noqa: PT011
        from_json(text)


def test_addresses_are_valid_until_they_say():
    assert ADDRESS.valid_at(1_789_999_000)
    assert not ADDRESS.valid_at(1_789_999_950)  # too near its end
    assert not ADDRESS.valid_at(1_800_000_000)
    assert Address(url="u", format_id="", ext="", protocol="http").valid_at(1e12)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://a/?expire=1790000000&x=1", 1_790_000_000),
        ("https://a/?Expires=1790000000", 1_790_000_000),
        ("https://a/?expires=soon", None),
        ("https://a/", None),
    ],
)
def test_expiry(url: str, expected: int | None):
    assert expiry_s(url) == expected


def test_what_is_kept_of_an_extraction():
    info = {
        "url": "https://a/x",
        "protocol": "https",
        "format_id": "140",
        "ext": "m4a",
        "http_headers": {"User-Agent": "u", "cookie": "c", "Authorization": "a", "X-Forwarded-For": "1"},
        "cookies": "session=secret",
        "downloader_options": {"http_chunk_size": 10},
    }
    address = address_of(info)
    assert address is not None
    assert address.http_headers == {"User-Agent": "u"}
    assert address.as_info()["downloader_options"] == {"http_chunk_size": 10}
    assert "secret" not in json.dumps(address.as_info())
    assert address_of({**info, "protocol": "http_dash_segments"}) is None
    assert address_of({**info, "url": None}) is None


def test_headers_that_every_request_has_are_not_kept():
    """yt-dlp draws a browser's name in each process: two plans of the same sources must not differ by it."""
    from yt_dlp.utils.networking import std_headers

    info = {
        "url": "https://x.example/a",
        "protocol": "https",
        "http_headers": {**std_headers, "Referer": "https://x.example"},
    }
    address = address_of(info)
    assert address is not None
    assert address.http_headers == {"Referer": "https://x.example"}
