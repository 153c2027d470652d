"""Where somebody speaks or music plays, as a transcript says: cues in, merged spans out.

    transcript = parse_transcript(body)
    transcript.covered_ms        # [(1000, 4200), (9000, 11500)]: sorted, apart, whole milliseconds

Reads WebVTT, SubRip and YouTube's json3, told apart by their content. Only times matter here: a cue with
any visible text covers its time, "[Music]" too (the reference takes captioned music for music). What adds
no cover: cues of blanks or of nothing but tags, and the json3 events that only open a window or append a
newline to a rolling line. Rolling auto-captions repeat a line in several cues and overlap the next one: the
union of all spans takes care of both.

Transcripts are untrusted: at most `MAX_BYTES` are read, no pattern here takes more than linear time, and a
broken cue is skipped and counted.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

#: More than any real transcript: twelve hours of dense json3 are about 4 MB.
MAX_BYTES = 10_000_000
#: A cue later than this is broken: no source is a week long.
MAX_MS = 7 * 24 * 3600 * 1000
#: Text of one line beyond this many characters cannot change whether the cue says anything.
MAX_LINE = 1000

_TIME = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})(?:[.,](\d{1,3}))?"
_TIMING = re.compile(rf"\s{{0,20}}{_TIME}[ \t]{{0,20}}-->[ \t]{{0,20}}{_TIME}(?:\s|$)")
_TAG = re.compile(r"<[^<>]{0,200}>|\{\\[^{}]{0,200}\}")
_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u00ad"

Span = tuple[int, int]


class TranscriptError(Exception):
    """The body is no transcript at all; the message is one sentence."""


@dataclass(frozen=True)
class Transcript:
    """What a transcript covers. `broken` cues were skipped: no times, end not after start, too late."""

    covered_ms: list[Span]
    cues: int
    broken: int


def parse_transcript(body: bytes) -> Transcript:
    """The spans a transcript covers.

    Raises TranscriptError when it is too large, of no known form, or when every one of its cues is broken.
    A transcript of a known form without any cue is not an error: `cues` is 0.
    """
    if len(body) > MAX_BYTES:
        raise TranscriptError(f"the transcript is larger than {MAX_BYTES} bytes")
    text = _decode(body)
    head = text.lstrip()[:6]
    cues = _json3_cues(text) if head.startswith("{") else _timed_text_cues(text)
    spans: list[Span] = []
    count = broken = 0
    for cue in cues:
        if cue is None:
            broken += 1
            continue
        count += 1
        spans.append(cue)
    if broken and not count:
        raise TranscriptError(f"all {broken} cues of the transcript are broken")
    if not count and not head.startswith(("{", "WEBVTT")):
        raise TranscriptError("the transcript is neither WebVTT, SubRip nor json3")
    return Transcript(merge_spans(spans), count, broken)


def merge_spans(spans: Iterable[Span]) -> list[Span]:
    """The union of the spans: sorted, none touching the next."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def _decode(body: bytes) -> str:
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return body.decode("utf-16", errors="replace")
    return body.decode("utf-8-sig", errors="replace").lstrip("\ufeff")


def _timed_text_cues(text: str) -> Iterator[Span | None]:
    """WebVTT and SubRip: a line with `-->`, then text up to an empty line or arrow. None = a broken cue."""
    span: Span | None = None  # the open cue that has shown no text yet
    for line in _lines(text):
        if "-->" in line[:200]:  # further right is text or garbage
            span = _span_of(line)
            if span is None:
                yield None
        elif not line:
            span = None  # a line of blanks does not end a cue: rolling captions have them
        elif span is not None and _visible(line):
            yield span
            span = None


def _lines(text: str) -> Iterator[str]:
    """Lines by LF, CRLF or CR (not by the rarer ones of str.splitlines), each cut to a bounded length."""
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        yield line[:MAX_LINE]


def _visible(text: str) -> str:
    return _TAG.sub("", text).replace("&nbsp;", " ").strip().strip(_INVISIBLE).strip()


def _span_of(line: str) -> Span | None:
    match = _TIMING.match(line)
    if not match:
        return None
    groups = match.groups()
    start, end = _to_ms(*groups[:4]), _to_ms(*groups[4:])
    if start is None or end is None:
        return None
    return _checked(start, end)


def _to_ms(hours: str | None, minutes: str, seconds: str, fraction: str | None) -> int | None:
    if int(minutes) > 59 or int(seconds) > 59:
        return None
    whole = (int(hours or 0) * 60 + int(minutes)) * 60 + int(seconds)
    return whole * 1000 + int((fraction or "0").ljust(3, "0"))


def _checked(start_ms: int, end_ms: int) -> Span | None:
    return (start_ms, end_ms) if 0 <= start_ms < end_ms <= MAX_MS else None


def _json3_cues(text: str) -> Iterator[Span | None]:
    """YouTube's json3: `events` of `tStartMs`, `dDurationMs` and `segs` with `utf8` texts."""
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TranscriptError("the transcript looks like json3 but is not JSON") from error
    events = tree.get("events") if isinstance(tree, dict) else None
    if events is None and isinstance(tree, dict) and "wireMagic" in tree:
        return  # a track without events
    if not isinstance(events, list):
        raise TranscriptError("the transcript is JSON but has no json3 events")
    for event in events:
        if not isinstance(event, dict):
            yield None
        elif _event_says_something(event):
            yield _event_span(event)


def _event_says_something(event: dict[str, Any]) -> bool:
    segments = event.get("segs")
    if not isinstance(segments, list):
        return False  # opens a window, sets a pen: no words
    return any(
        isinstance(segment, dict)
        and isinstance(segment.get("utf8"), str)
        and bool(_visible(segment["utf8"][:MAX_LINE]))
        for segment in segments
    )


def _event_span(event: dict[str, Any]) -> Span | None:
    start, duration = _whole(event.get("tStartMs", 0)), _whole(event.get("dDurationMs"))
    return None if start is None or duration is None else _checked(start, start + duration)


def _whole(value: Any) -> int | None:
    if isinstance(value, float) and math.isfinite(value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
