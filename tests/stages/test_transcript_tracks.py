"""Which transcript is read: manual first, the recipe's languages only, the exact form first."""

from __future__ import annotations

import pytest

from stages.transcript_tracks import choose_track


def forms(*exts: str, **more: str) -> list[dict]:
    return [{"ext": ext, "url": f"http://127.0.0.1/{ext}", **more} for ext in exts]


@pytest.mark.parametrize(
    ("manual", "automatic", "languages", "expected"),
    [
        (["en"], ["en"], ["en"], ("manual", "en")),
        ([], ["en"], ["en"], ("automatic", "en")),
        (["de"], ["en"], ["en"], ("automatic", "en")),
        (["de"], [], ["en"], None),
        (["de"], ["en"], ["en", "de"], ("manual", "de")),
        (["en-US", "en-GB"], [], ["en"], ("manual", "en-GB")),
        (["en-US", "en"], [], ["en"], ("manual", "en")),
        (["EN_us"], [], ["en"], ("manual", "EN_us")),
        ([], ["en-de", "en-orig"], ["en"], ("automatic", "en-orig")),
        (["enm"], [], ["en"], None),
        (["live_chat"], [], ["en"], None),
    ],
)
def test_kind_and_language(manual, automatic, languages, expected):
    info = {
        "subtitles": {key: forms("vtt") for key in manual},
        "automatic_captions": {key: forms("vtt") for key in automatic},
    }
    track = choose_track(info, languages)
    assert (track and (track.kind, track.language)) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (forms("srt", "vtt", "json3", "ttml"), "json3"),
        (forms("ttml", "srt", "vtt"), "vtt"),
        (forms("srv1", "srt"), "srt"),
        (forms("ttml", "srv3"), None),
        (forms("vtt", protocol="m3u8_native"), None),
        ([{"ext": "vtt"}], None),
        (["nonsense", None], None),
        ("nonsense", None),
    ],
)
def test_forms(given, expected):
    track = choose_track({"subtitles": {"en": given}}, ["en"])
    assert (track.url.rsplit("/", 1)[-1] if track else None) == expected


def test_a_language_without_a_usable_form_is_passed_over():
    info = {"subtitles": {"en": forms("ttml"), "en-GB": forms("vtt")}}
    assert choose_track(info, ["en"]).language == "en-GB"
    assert choose_track({"subtitles": None, "automatic_captions": []}, ["en"]) is None
    assert choose_track({"subtitles": {"en": [{"ext": "vtt", "data": "WEBVTT"}]}}, ["en"]).data == "WEBVTT"
