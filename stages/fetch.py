"""Bring each source's audio to this node, once, for all its clips.

    - use: fetch
      max_media_mb: 4096
      max_download_s: 3600

A page is downloaded by yt-dlp (stages/ytdlp_client.py) from the address the plan found, or extracted anew.
A local file is used where it lies; an object behind an fsspec URL is copied. What is fetched stays in
`services.cache_dir/<source_id>/` until the source's units are committed: its presence there is the proof of
a complete fetch, so a crash asks no site twice. Requests are paced for the whole node (stages/pace.py).

A source that cannot be had ends all its clips as `failed`, with a reason of stages/faults.py; one whose media opt out
(stages/opt_outs.py) ends them as `filtered / opted_out`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import pyarrow as pa
from annotated_types import Gt

from corpus.schema import fields
from stages.base import Ending, Needs, Services, with_columns, with_endings
from stages.cache import MediaCache
from stages.faults import Fault, classify_file
from stages.media import FileMedia, Media, YtdlpMedia, from_json
from stages.pace import Pace
from stages.ytdlp_client import YtdlpClient
from stages.ytdlp_options import YtdlpOptions

COPY_CHUNK = 1 << 20


@dataclass(kw_only=True)
class Fetch:
    """Adds `media_path`. Media beyond the limits end as `too_large` or `too_slow`."""

    max_media_mb: Annotated[float, Gt(0)] = 4096.0
    max_download_s: Annotated[float, Gt(0)] = 3600.0

    reads: ClassVar[tuple[str, ...]] = ("source_id", "media")
    adds: ClassVar[pa.Schema] = fields("media_path")

    def needs(self) -> Needs:
        return Needs(cpus=1.0)

    def open(self, services: Services) -> None:
        self._cache_dir = services.cache_dir
        self._options = YtdlpOptions.from_mapping(services.ytdlp)
        self._pace = Pace(self._options.requests_per_s, services.cache_dir / ".pace")
        self._client: YtdlpClient | None = None

    def run(self, clips: pa.Table) -> pa.Table:
        source_ids = clips.column("source_id").to_pylist()
        media = dict(zip(source_ids, clips.column("media").to_pylist(), strict=True))
        found = {source_id: self._path_or_fault(source_id, from_json(text)) for source_id, text in media.items()}
        per_clip = [found[source_id] for source_id in source_ids]
        paths = [None if isinstance(item, Fault) else str(item) for item in per_clip]
        clips = with_columns(clips, {"media_path": paths}, self.adds)
        return with_endings(clips, [_ending(item) for item in per_clip])

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _path_or_fault(self, source_id: str, media: Media) -> Path | Fault:
        try:
            if isinstance(media, YtdlpMedia):
                return self._download(source_id, media)
            return self._file(source_id, media)
        except Fault as fault:
            return fault

    @property
    def _max_bytes(self) -> int:
        return int(self.max_media_mb * 1_000_000)

    def _download(self, source_id: str, media: YtdlpMedia) -> Path:
        if found := MediaCache(self._cache_dir).find(source_id):
            return found
        if self._client is None:  # only now: a unit of files needs no yt-dlp
            self._client = YtdlpClient(self._options, pace=self._pace)
        return self._client.download_audio(
            media, self._cache_dir, source_id, max_bytes=self._max_bytes, max_s=self.max_download_s
        )

    def _file(self, source_id: str, media: FileMedia) -> Path:
        if "://" in media.path:
            return MediaCache(self._cache_dir).get(source_id, lambda folder: self._copy(media.path, folder))
        path = Path(media.path)
        try:
            with path.open("rb"):
                return path
        except OSError as error:
            raise classify_file(error, "the file") from error

    def _copy(self, url: str, folder: Path) -> Path:
        """An object of an fsspec store, as a file."""
        target = folder / f"copy{Path(url).suffix}"
        size = 0
        with target.open("wb") as to:
            for chunk in _chunks(url):
                size += len(chunk)
                if size > self._max_bytes:
                    raise Fault("too_large", f"the object is larger than {self._max_bytes} bytes")
                to.write(chunk)
        return target


def _chunks(url: str) -> Iterator[bytes]:
    """An object's bytes. Only reading is in here: a full disk of ours must not look like the store's fault."""
    import fsspec

    try:
        with fsspec.open(url, "rb") as source:
            while chunk := source.read(COPY_CHUNK):
                yield chunk
    except OSError as error:
        raise classify_file(error, "the object", remote=True) from error


def _ending(item: Path | Fault) -> Ending | None:
    if not isinstance(item, Fault):
        return None
    return Ending("filtered" if item.reason == "opted_out" else "failed", item.reason, item.detail)
