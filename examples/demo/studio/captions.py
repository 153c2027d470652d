"""Captions of a narration in the forms that sites serve: VTT, SRT, rolling VTT and rolling json3.

A cue is a sentence: its text, its words with times, or a line such as "[Music]". Manual captions show a
sentence while it is said. Automatic ones build lines word by word and keep the line before on screen, so that
their cues repeat text and overlap, as YouTube's do; the union of their times is still the narration's.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from examples.demo.studio.narrator import Word

LINE_WORDS = 5


@dataclass(frozen=True)
class Cue:
    text: str
    start_ms: int
    end_ms: int
    words: list[Word] = field(default_factory=list)


def clock(ms: int, mark: str = ".") -> str:
    hours, rest = divmod(ms, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d}{mark}{rest % 1000:03d}"


def vtt(cues: list[Cue], language: str) -> str:
    head = f"WEBVTT\nKind: captions\nLanguage: {language}\n"
    body = (f"{clock(cue.start_ms)} --> {clock(cue.end_ms)}\n{cue.text}\n" for cue in cues)
    return "\n".join([head, *body])


def rich_vtt(cues: list[Cue], language: str) -> str:
    """The same with what a hand-made file may hold: style and note blocks, cue names, settings, voice tags."""
    head = f"WEBVTT - {language}\n\nSTYLE\n::cue {{ color: lime }}\n\nNOTE\nTimes were checked by hand.\n"
    body = (
        f"line {k}\n{clock(cue.start_ms)[3:]} --> {clock(cue.end_ms)[3:]} line:85% align:center\n"
        f"<v Allison>{cue.text}</v>\n"
        for k, cue in enumerate(cues, start=1)
    )
    return "\n".join([head, *body])


def srt(cues: list[Cue]) -> str:
    """With a byte order mark and CRLF, as editors on Windows write it."""
    blocks = (
        f"{k}\n{clock(cue.start_ms, ',')} --> {clock(cue.end_ms, ',')}\n{cue.text}\n"
        for k, cue in enumerate(cues, start=1)
    )
    return "\ufeff" + "\n".join(blocks).replace("\n", "\r\n")


def _lines(cues: list[Cue]) -> list[list[Word]]:
    words = [cue.words or [Word(cue.text, cue.start_ms, cue.end_ms)] for cue in cues]
    return [part[at : at + LINE_WORDS] for part in words for at in range(0, len(part), LINE_WORDS)]


def _shown_until(lines: list[list[Word]], k: int) -> int:
    """A line stays while the next one of the same passage is built, and goes with its last word otherwise."""
    end_ms = lines[k][-1].end_ms
    if k + 1 < len(lines) and lines[k + 1][0].start_ms - end_ms < 1000:
        return lines[k + 1][-1].end_ms
    return end_ms


def rolling_json3(cues: list[Cue], duration_ms: int) -> str:
    lines = _lines(cues)
    events: list[dict[str, Any]] = [
        {"tStartMs": 0, "dDurationMs": duration_ms, "id": 1, "wpWinPosId": 1, "wsWinStyleId": 1}
    ]
    for k, line in enumerate(lines):
        start_ms, end_ms = line[0].start_ms, _shown_until(lines, k)
        segments = [
            {"utf8": word.text if n == 0 else f" {word.text}", "acAsrConf": 0}
            | ({"tOffsetMs": word.start_ms - start_ms} if n else {})
            for n, word in enumerate(line)
        ]
        events.append({"tStartMs": start_ms, "dDurationMs": end_ms - start_ms, "wWinId": 1, "segs": segments})
        if end_ms > line[-1].end_ms:
            newline = {"tStartMs": line[-1].end_ms, "dDurationMs": end_ms - line[-1].end_ms, "wWinId": 1}
            events.append(newline | {"aAppend": 1, "segs": [{"utf8": "\n"}]})
    head = {"wireMagic": "pb3", "pens": [{}], "wsWinStyles": [{}, {"mhModeHint": 2}], "wpWinPositions": [{}, {}]}
    return json.dumps(head | {"events": events}, indent=1, ensure_ascii=False) + "\n"


def rolling_vtt(cues: list[Cue], language: str) -> str:
    lines = _lines(cues)
    blocks = [f"WEBVTT\nKind: captions\nLanguage: {language}\n"]
    before = ""
    for k, line in enumerate(lines):
        if k and line[0].start_ms - lines[k - 1][-1].end_ms >= 1000:
            before = ""
        built = line[0].text + "".join(f"<{clock(word.start_ms)}><c> {word.text}</c>" for word in line[1:])
        whole = " ".join(word.text for word in line)
        span = f"{clock(line[0].start_ms)} --> {clock(line[-1].end_ms)}"
        blocks.append(f"{span} align:start position:0%\n{before or ' '}\n{built}\n")
        if _shown_until(lines, k) > line[-1].end_ms:  # the finished line, alone, for a moment
            span = f"{clock(line[-1].end_ms)} --> {clock(line[-1].end_ms + 10)}"
            blocks.append(f"{span} align:start position:0%\n{whole}\n \n")
        before = whole
    return "\n".join(blocks)
