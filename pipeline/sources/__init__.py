"""Where sources come from: `read_sources` goes through a recipe's lists and folders in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from pipeline.config import Plan
from pipeline.config_sources import (
    AnySource,
    AutoRecapSource,
    CaptionTableSource,
    ClipListSource,
    FolderSource,
    UrlListSource,
)
from pipeline.sources.entry import SourceEntry, SourceError
from pipeline.sources.report import ListReport

__all__ = ["ListReport", "SourceEntry", "SourceError", "read_sources"]


def read_sources(
    sources: Sequence[AnySource],
    plan: Plan | None = None,
    *,
    reports: list[ListReport] | None = None,
    scratch: Path | None = None,
) -> Iterator[pa.Table]:
    """Every entry of every source as tables (ENTRIES), duplicates included; `reports` gets one item a source.

    `scratch`: where lists whose entries must be brought together keep them meanwhile; None = the system's folder for
    such. SourceError for a list or folder that cannot be read or gives no entry.
    """
    if not sources:
        raise SourceError("sources: the recipe lists none")
    for source in sources:
        report = ListReport(_name(source))
        if reports is not None:
            reports.append(report)
        count = 0
        for batch in _tables(source, plan or Plan(), report, scratch):
            count += batch.num_rows
            yield batch
        if not count:
            raise SourceError("\n".join([f"sources: {report.name} lists no source", *report.text()[1:]]))


def _tables(source: AnySource, plan: Plan, report: ListReport, scratch: Path | None) -> Iterator[pa.Table]:
    """Readers are imported where they are used: a command that lists URLs does not load the others."""
    from pipeline.sources.batches import in_tables
    from pipeline.sources.given import Settler
    from pipeline.sources.tables import told

    if isinstance(source, UrlListSource):
        from pipeline.sources.urls import read_urls

        yield from _counted(in_tables(read_urls(source)), report)
        return
    if isinstance(source, FolderSource):
        from pipeline.sources.folder import read_folder

        yield from _counted(in_tables(read_folder(source)), report)
        return
    settle = Settler(source, clip_min_ms=round(plan.clip_min_s * 1000), clip_max_ms=round(plan.clip_max_s * 1000))
    with told(source.path):
        if isinstance(source, AutoRecapSource):
            from pipeline.sources.autorecap import read_autorecap

            yield from read_autorecap(source, settle, report, scratch)
        elif isinstance(source, ClipListSource):
            from pipeline.sources.clips import read_clips

            yield from read_clips(source, settle, report, scratch)
        elif isinstance(source, CaptionTableSource):
            from pipeline.sources.captions import read_captions

            yield from in_tables(read_captions(source, settle, report))


def _counted(batches: Iterator[pa.Table], report: ListReport) -> Iterator[pa.Table]:
    for batch in batches:
        report.sources += batch.num_rows
        yield batch


def _name(source: AnySource) -> str:
    return source.path or "`items`"
