"""Where sources come from: `read_sources` goes through a recipe's lists and folders in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipeline.config import FolderSource, UrlListSource
from pipeline.sources.entry import SourceEntry, SourceError
from pipeline.sources.folder import read_folder
from pipeline.sources.urls import read_urls

__all__ = ["SourceEntry", "SourceError", "read_sources"]


def read_sources(sources: Sequence[UrlListSource | FolderSource]) -> Iterator[SourceEntry]:
    """Every entry of every source, duplicates included. SourceError for a list or folder that gives none."""
    if not sources:
        raise SourceError("sources: the recipe lists none")
    for source in sources:
        count = 0
        for entry in read_urls(source) if isinstance(source, UrlListSource) else read_folder(source):
            count += 1
            yield entry
        if not count:
            raise SourceError(f"sources: {_name(source)} lists no source")


def _name(source: UrlListSource | FolderSource) -> str:
    return source.path or "`items`"
