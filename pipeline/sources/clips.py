"""A table of clips with given times: one row a clip, in any order.

| column | what it is |
|---|---|
| `id` or `url` | the source, as in a list of URLs |
| `start_s`, `end_s` or `start_ms`, `end_ms` | where the clip lies on the source's own time line |
| `caption`, `clap_score` | optional: written and measured by whom the recipe says (`caption_model`, `clap_model`) |
| title, description, video_caption, license, uploader, source_key | optional, of the source: its first row's |
| others | `source_meta`, of the source's first row |

Rows of one source are brought together wherever they stand (pipeline/sources/spill.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.config_sources import ClipListSource
from pipeline.sources.batches import in_tables
from pipeline.sources.entry import SourceEntry, SourceError
from pipeline.sources.given import Clip, RawClip, Settler, as_given, number
from pipeline.sources.report import ListReport
from pipeline.sources.spill import Spill
from pipeline.sources.tables import Row, read_rows
from pipeline.sources.urls import entry_of, location_of

_TIMES = ({"start_s", "end_s"}, {"start_ms", "end_ms"})
_OF_THE_CLIP = {"start_s", "end_s", "start_ms", "end_ms", "caption", "clap_score"}


def read_clips(source: ClipListSource, settle: Settler, report: ListReport, scratch: Path | None) -> Iterator[pa.Table]:
    """The sources as tables of entries, each source once."""
    report.left_out = settle.left_out
    with Spill(scratch) as spill:
        for row in read_rows(source.path):
            report.lines += 1
            if not location_of(row, source.path):
                report.leave_out("no_id", f"row {report.lines}")
                continue
            entry = entry_of(row, leave_out=_OF_THE_CLIP)
            spill.add(entry.source_key, [vars(entry), settle([_raw(row, source.path)])])
        for records in spill.groups():
            yield from in_tables(_sources(records, source, settle, report))


def _raw(row: Row, path: str) -> RawClip:
    if _TIMES[0] <= row.keys():
        start, end = row["start_s"], row["end_s"]
    elif _TIMES[1] <= row.keys():
        start, end = _seconds(row["start_ms"]), _seconds(row["end_ms"])
    else:
        raise SourceError(
            f"sources: {path} has no columns `start_s` and `end_s`, or `start_ms` and `end_ms`; "
            f"it has {', '.join(map(str, row))}"
        )
    return start, end, row.get("caption"), row.get("clap_score")


def _seconds(value_ms: Any) -> float | None:
    found = number(value_ms)
    return None if found is None else found / 1000


def _sources(records: list[Any], source: ClipListSource, settle: Settler, report: ListReport) -> Iterator[SourceEntry]:
    entries: dict[str, SourceEntry] = {}
    found: dict[str, list[Clip]] = {}
    for said, clips in records:
        key = said["source_key"]
        entries.setdefault(key, SourceEntry(**said))
        found.setdefault(key, []).extend(clips)
    for key, clips in found.items():
        if not clips:
            report.empty_sources += 1
            continue
        kept = settle.merged(clips)
        report.sources += 1
        report.clips += len(kept)
        yield replace(
            entries[key], clips=as_given(kept), caption_model=source.caption_model, clap_model=source.clap_model
        )
