"""The published AutoReCap-XL files: one video a line, its clips with times, captions and CLAP scores.

    {"dQw4w9WgXcQ": {"intervals": [{"start": 12.0, "end": 21.5, "text": "Wind blows", "CLAP_SIM": 0.47}, ...]}},

A comma may end a line, and bracket lines may stand around them. An id may come again, also gigabytes later: its clips
are brought together (pipeline/sources/spill.py), in time order. A line that cannot be read is counted and told by its
number. What is filtered out, and why, is in pipeline/sources/given.py.

Planning asks no site: a clip's media is its video's page, which the leg that fetches extracts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from corpus.schema import PUBLISHED_MODEL
from pipeline.config_sources import AutoRecapSource
from pipeline.sources.batches import GivenBatch
from pipeline.sources.entry import YOUTUBE_ID, canonical
from pipeline.sources.given import Clip, RawClip, Settler
from pipeline.sources.lines import MAX_LINE_BYTES, read_lines
from pipeline.sources.report import ListReport
from pipeline.sources.spill import Spill
from stages.page_texts import clean

#: What may stand on lines of its own around the videos.
_BRACKETS = frozenset({b"", b"[", b"]", b"{", b"}", b"[]", b"{}"})


def read_autorecap(
    source: AutoRecapSource, settle: Settler, report: ListReport, scratch: Path | None
) -> Iterator[pa.Table]:
    """The videos as tables of entries, each video once. OSError for a file that cannot be read."""
    report.left_out = settle.left_out
    with Spill(scratch) as spill:
        for number, line in read_lines(source.path):
            report.lines = number
            for key, clips in _videos(number, line, report):
                spill.add(key, [key, settle(clips)])
        batch = GivenBatch(caption_model=PUBLISHED_MODEL, clap_model=PUBLISHED_MODEL)
        for records in spill.groups():
            for key, clips in _by_key(records).items():
                if clips:
                    batch.add(key, _page(key), settle.merged(clips))
                    report.sources += 1
                else:
                    report.empty_sources += 1
            report.clips += batch.num_clips
            if len(batch):
                yield batch.table()


def _videos(number: int, line: bytes | None, report: ListReport) -> Iterator[tuple[str, list[RawClip]]]:
    """(key, clips) of a line's videos; what is none is reported."""
    if line is None:
        report.broken(number, f"longer than {MAX_LINE_BYTES} bytes")
        return
    text = line.strip(b" \t\r,")
    if text in _BRACKETS:
        return
    try:
        videos = _parsed(text)
    except (ValueError, RecursionError):
        report.broken(number, "not JSON")
        return
    if not isinstance(videos, dict):
        report.broken(number, "not a JSON object")
        return
    for video, said in videos.items():
        key = video if YOUTUBE_ID.fullmatch(video) else canonical(clean(video))[0]
        if key is not video and not YOUTUBE_ID.fullmatch(key) and not key.startswith(("https://", "http://")):
            report.broken(number, f"{key[:40]!r} is neither a YouTube id nor a URL")
            continue
        try:
            clips = [(i.get("start"), i.get("end"), i.get("text"), i.get("CLAP_SIM")) for i in said["intervals"]]
        except (AttributeError, KeyError, TypeError):
            report.broken(number, f"{key[:40]} has no list of intervals")
            continue
        yield key, clips


def _parsed(text: bytes) -> Any:
    """orjson is ten times as fast, but takes no NaN and no half surrogate, and Python's own `json` has written both."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)


def _by_key(records: list[Any]) -> dict[str, list[Clip]]:
    found: dict[str, list[Clip]] = {}
    for key, clips in records:
        if key in found:
            found[key] += clips
        else:
            found[key] = clips
    return found


def _page(key: str) -> str:
    return f"https://www.youtube.com/watch?v={key}" if YOUTUBE_ID.fullmatch(key) else key
