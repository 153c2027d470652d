"""Bring each source's audio to this node, once, for all its clips.

    - use: fetch
      max_media_mb: 4096
      max_download_s: 3600

A page is downloaded by yt-dlp (stages/ytdlp_client.py) from the address the plan found, or extracted anew.
A local file is used where it lies; an object behind an fsspec URL is copied. What is fetched stays in
`services.cache_dir/<source_id>/` until the source's units are committed: its presence there is the proof of
a complete fetch, so a crash asks no site twice. Requests wait for their turn (stages/governor.py).

A page that was not asked when the plan was made fills its clips' title, description, license and uploader
(stages/page_texts.py).

A source that cannot be had ends all its clips as `failed`, with a reason of stages/faults.py; one whose media opt out
(stages/opt_outs.py) ends them as `filtered / opted_out`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pyarrow as pa
import pyarrow.compute as pc
from annotated_types import Gt

from corpus.schema import fields
from stages import ranged_fetch
from stages.base import Ending, Needs, Services, with_columns, with_endings
from stages.cache import MediaCache
from stages.faults import Fault, classify_file
from stages.media import FileMedia, YtdlpMedia, from_json
from stages.page_texts import PAGE_TEXTS, page_texts
from stages.partial import PartialStore
from stages.ranged_fetch import RangedFetch
from stages.ranges import RangeCosts
from stages.turns import site_of
from stages.ytdlp_client import YtdlpClient
from stages.ytdlp_options import YtdlpOptions

COPY_CHUNK = 1 << 20


@dataclass(kw_only=True)
class Fetch:
    """Adds `media_path`. Media beyond the limits end as `too_large` or `too_slow`.

    `ranges`: whether only what the clips need is fetched. `ranges_mb_per_s` and `ranges_latency_ms` are what a site is
    expected to give; with `ytdlp.requests_per_s` they decide (stages/ranges.py).
    """

    max_media_mb: Annotated[float, Gt(0)] = 4096.0
    max_download_s: Annotated[float, Gt(0)] = 3600.0
    ranges: Literal["auto", "never", "always"] = "auto"
    ranges_mb_per_s: Annotated[float, Gt(0)] = 20.0
    ranges_latency_ms: Annotated[float, Gt(0)] = 50.0

    reads: ClassVar[tuple[str, ...]] = ("source_id", "media", "start_ms", "end_ms", "source_units")
    adds: ClassVar[pa.Schema] = fields("media_path")
    changes: ClassVar[tuple[str, ...]] = PAGE_TEXTS

    def needs(self) -> Needs:
        return Needs(cpus=1.0)

    def open(self, services: Services) -> None:
        self._cache_dir = services.cache_dir
        self._options = YtdlpOptions.from_mapping(services.ytdlp)
        self._services = services
        self._client: YtdlpClient | None = None

    def run(self, clips: pa.Table) -> pa.Table:
        by_source: dict[str, list[dict[str, Any]]] = {}
        for row in clips.select(list(self.reads)).to_pylist():
            by_source.setdefault(row["source_id"], []).append(row)
        found = {source_id: self._path_or_fault(source_id, rows) for source_id, rows in by_source.items()}
        per_clip = [found[source_id] for source_id in clips.column("source_id").to_pylist()]
        paths = [None if isinstance(item, Fault) else str(item) for item in per_clip]
        clips = self._with_page_texts(with_columns(clips, {"media_path": paths}, self.adds))
        return with_endings(clips, [_ending(item) for item in per_clip])

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _with_page_texts(self, clips: pa.Table) -> pa.Table:
        """What a page said fills what the plan left empty: of sources whose list gave their clips."""
        source_ids = clips.column("source_id")
        said = {source_id: page_texts(self._cache_dir, source_id) for source_id in pc.unique(source_ids).to_pylist()}
        for name in PAGE_TEXTS if any(said.values()) else ():
            texts = pa.array([said[source_id].get(name) for source_id in source_ids.to_pylist()], pa.string())
            at = clips.schema.get_field_index(name)
            if at >= 0:
                clips = clips.set_column(at, clips.schema.field(at), pc.coalesce(clips.column(at), texts))
        return clips

    def _path_or_fault(self, source_id: str, rows: list[dict[str, Any]]) -> Path | Fault:
        """Where the media of one source's rows are."""
        media = from_json(rows[0]["media"])
        try:
            if isinstance(media, YtdlpMedia):
                return self._download(source_id, media, self._ranged(rows))
            return self._file(source_id, media)
        except Fault as fault:
            return fault

    @property
    def _max_bytes(self) -> int:
        return int(self.max_media_mb * 1_000_000)

    def _ranged(self, rows: list[dict[str, Any]]) -> RangedFetch | None:
        if self.ranges == "never":
            return None
        return RangedFetch(
            mode=self.ranges,
            costs=RangeCosts(
                mb_per_s=self.ranges_mb_per_s,
                latency_ms=self.ranges_latency_ms,
                requests_per_s=self._options.requests_per_s,
            ),
            spans_ms=[(row["start_ms"], row["end_ms"]) for row in rows],
            of_units=rows[0]["source_units"] or 1,
            max_bytes=self._max_bytes,
            max_s=self.max_download_s,
        )

    def _download(self, source_id: str, media: YtdlpMedia, ranged: RangedFetch | None) -> Path:
        if found := MediaCache(self._cache_dir).find(source_id):
            return found
        if self._client is None:  # only now: a unit of files needs no yt-dlp
            self._client = YtdlpClient(self._options, governor=self._services.governor, watch=self._services.watch)
        blocks = self._cache_dir / source_id / ranged_fetch.NAME  # another unit may have brought some
        held_bytes = PartialStore(blocks).held_bytes
        path = self._client.download_audio(
            media, self._cache_dir, source_id, max_bytes=self._max_bytes, max_s=self.max_download_s, ranged=ranged
        )
        if path == blocks:
            self._count_bytes(PartialStore(path).held_bytes - held_bytes, media.url)
        else:
            self._count_bytes(path.stat().st_size, media.url)
        return path

    def _count_bytes(self, fetched: int, url: str) -> None:
        self._services.metrics.count("autorecap_fetched_bytes_total", max(fetched, 0), site=site_of(url))

    def _file(self, source_id: str, media: FileMedia) -> Path:
        if "://" in media.path:
            cache = MediaCache(self._cache_dir)
            if found := cache.find(source_id):
                return found
            path = cache.get(source_id, lambda folder: self._copy(media.path, folder))
            self._count_bytes(path.stat().st_size, media.path)
            return path
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
