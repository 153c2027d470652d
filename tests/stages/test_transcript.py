"""Transcripts as sites give them, tidy and broken: what counts is which milliseconds they cover."""

from __future__ import annotations

import contextlib
import json
import random
import time

import pytest

from stages.transcript import MAX_BYTES, TranscriptError, merge_spans, parse_transcript


def covered(text: str) -> list[tuple[int, int]]:
    return parse_transcript(text.encode()).covered_ms


VTT = """WEBVTT
Kind: captions
Language: en

NOTE a note is no cue

STYLE
::cue { color: red }

1
00:00:01.000 --> 00:00:03.500 align:start position:0%
Hello there

00:10.000 --> 00:12.000
minutes and seconds only
"""


def test_webvtt_with_settings_notes_and_optional_hours():
    assert covered(VTT) == [(1000, 3500), (10_000, 12_000)]


def test_subrip_with_commas_and_numbers():
    text = "1\n00:00:01,000 --> 00:00:02,000\nOne\n\n2\n01:00:05,25 --> 01:00:06\nTwo\n"
    assert covered(text) == [(1000, 2000), (3_605_250, 3_606_000)]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_newlines_and_byte_order_marks(newline: str, encoding: str):
    body = VTT.replace("\n", newline).encode(encoding)
    assert parse_transcript(body).covered_ms == [(1000, 3500), (10_000, 12_000)]


def test_rolling_automatic_captions_in_webvtt():
    text = """WEBVTT

00:00:00.500 --> 00:00:02.500 align:start position:0%
BLANK
so<00:00:00.800><c> here</c><00:00:01.200><c> we</c><00:00:01.500><c> go</c>

00:00:02.500 --> 00:00:02.510 align:start position:0%
so here we go
BLANK

00:00:02.510 --> 00:00:05.000 align:start position:0%
so here we go
again<00:00:03.000><c> now</c>

00:00:11.000 --> 00:00:12.000 align:start position:0%
[Music]

00:00:14.000 --> 00:00:20.000 align:start position:0%
BLANK
""".replace("BLANK", " ")
    assert covered(text) == [(500, 5000), (11_000, 12_000)]


def test_json3_windows_newlines_and_overlaps():
    events = [
        {"tStartMs": 0, "dDurationMs": 60_000, "id": 1, "wpWinPosId": 1, "wsWinStyleId": 1},
        {
            "tStartMs": 1000,
            "dDurationMs": 4000,
            "wWinId": 1,
            "segs": [{"utf8": "hello"}, {"utf8": " you", "tOffsetMs": 300}],
        },
        {"tStartMs": 3000, "dDurationMs": 9000, "wWinId": 1, "aAppend": 1, "segs": [{"utf8": "\n"}]},
        {"tStartMs": 3500, "dDurationMs": 3000, "wWinId": 1, "segs": [{"utf8": "again"}]},
        {"tStartMs": 20_000, "dDurationMs": 1500, "segs": [{"utf8": "[Music]"}]},
    ]
    body = json.dumps({"wireMagic": "pb3", "events": events}).encode()
    transcript = parse_transcript(body)
    assert transcript.covered_ms == [(1000, 6500), (20_000, 21_500)]
    assert (transcript.cues, transcript.broken) == (3, 0)


def test_broken_cues_are_skipped_and_counted():
    text = """WEBVTT

00:00:05.000 --> 00:00:04.000
ends before it starts

00:61:00.000 --> 00:62:00.000
no such minute

garbage --> more garbage
no times

00:00:06.000 --> 00:00:07.000
good
"""
    transcript = parse_transcript(text.encode())
    assert (transcript.covered_ms, transcript.cues, transcript.broken) == ([(6000, 7000)], 1, 3)


def test_broken_json3_events_are_skipped_and_counted():
    good = {"tStartMs": 100, "dDurationMs": 200, "segs": [{"utf8": "a"}]}
    bad = [
        "text",
        {"tStartMs": "7", "dDurationMs": 1, "segs": [{"utf8": "a"}]},
        {"tStartMs": 7, "segs": [{"utf8": "no duration"}]},
        {"tStartMs": 10**400, "dDurationMs": 1, "segs": [{"utf8": "a"}]},
        {"tStartMs": True, "dDurationMs": 1, "segs": [{"utf8": "a"}]},
        {"tStartMs": -5, "dDurationMs": 1, "segs": [{"utf8": "a"}]},
    ]
    transcript = parse_transcript(json.dumps({"events": [good, *bad]}).encode())
    assert (transcript.covered_ms, transcript.broken) == ([(100, 300)], len(bad))


def test_cues_without_an_empty_line_between():
    text = "WEBVTT\n\n00:01.000 --> 00:02.000\na\n00:05.000 --> 00:06.000\nb\n"
    assert covered(text) == [(1000, 2000), (5000, 6000)]


def test_cues_that_show_nothing_cover_nothing():
    cues = [
        "00:01.000 --> 00:02.000\n<c></c> \u200b",
        "00:03.000 --> 00:04.000\n&nbsp;",
        "00:05.000 --> 00:06.000\n",
    ]
    text = "\n\n".join(["WEBVTT", *cues])
    assert parse_transcript(text.encode()).cues == 0


def test_a_known_form_without_cues_is_no_error():
    assert parse_transcript(b"WEBVTT\n").cues == 0
    assert parse_transcript(b'{"wireMagic": "pb3"}').cues == 0
    assert parse_transcript(b'{"events": []}').cues == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>not found</html>",
        b"{not json",
        b"[1]",
        b'{"a": 1}',
        b"WEBVTT\n\nx --> y\nall broken\n",
        b"[" * 10_000,
    ],
)
def test_bodies_that_are_no_transcript(body: bytes):
    with pytest.raises(TranscriptError):
        parse_transcript(body)


def test_too_large_is_refused():
    with pytest.raises(TranscriptError, match="larger than"):
        parse_transcript(b"WEBVTT" + b"x" * MAX_BYTES)


@pytest.mark.parametrize("seed", range(7))
def test_ten_megabytes_of_garbage_in_bounded_time(seed: int):
    noise = random.Random(seed)
    body = [
        lambda: noise.randbytes(MAX_BYTES - 10),
        lambda: b"<" * (MAX_BYTES - 10),
        lambda: b"WEBVTT\n\n" + b"0:0 --> " * 1_200_000,
        lambda: b"WEBVTT\n\n" + b"00:01.000 --> 00:02.000\n<<<<\n\n" * 300_000,
        lambda: b"{" * (MAX_BYTES - 10),
        lambda: b'{"events":[' + b"[" * (MAX_BYTES - 100),
        lambda: b"-->\n" * 2_400_000,
    ][seed]()
    started = time.monotonic()
    with contextlib.suppress(TranscriptError):
        parse_transcript(body)
    assert time.monotonic() - started < 6


def test_merge_spans():
    assert merge_spans([(5, 6), (0, 2), (2, 3), (1, 2)]) == [(0, 3), (5, 6)]
    assert merge_spans([]) == []
