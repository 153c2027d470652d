"""yt-dlp as a library: what a page says of its video, and the audio itself.

    client = YtdlpClient(options, languages=["en"], pace=Pace(1.0))
    info = client.extract("https://www.youtube.com/watch?v=...")      # one extraction, one transcript
    path = client.download_audio(info.media, cache_dir, source_id)    # one download, from the address found

Requests are few and bounded: at most one extraction and one transcript a source when planning; when running
one download from the planned address, and a new extraction only if that has run out or is refused. yt-dlp's
own retries are off: here every fault has a reason (stages/faults.py), is tried again only if that can help,
waits as `Retry-After` says or the back-off doubles, and gives up after `retries`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from stages.cache import MediaCache
from stages.faults import Fault
from stages.frame_offers import Offers, offers_of, recall, remember
from stages.media import Address, YtdlpMedia
from stages.pace import Pace
from stages.transcript import MAX_BYTES, Transcript, TranscriptError, parse_transcript
from stages.transcript_tracks import Track, choose_track
from stages.ytdlp_download import Limits
from stages.ytdlp_info import SourceInfo, source_info
from stages.ytdlp_options import YtdlpOptions
from stages.ytdlp_session import YtdlpSession

log = logging.getLogger(__name__)

#: A host that asks for a longer pause is left alone: the source fails for now, as transient.
MAX_WAIT_S = 300.0
#: Why a planned address may be refused although the video is alive: extract once more, then believe it.
REFUSED = frozenset({"blocked", "gone", "private", "http_other"})

T = TypeVar("T")


class YtdlpClient:
    """For one thread at a time."""

    def __init__(self, options: YtdlpOptions, *, languages: Sequence[str] = ("en",), pace: Pace | None = None) -> None:
        self._options = options
        self._languages = tuple(languages)
        self._pace = pace or Pace(options.requests_per_s)
        self._session = YtdlpSession(options)

    def close(self) -> None:
        self._session.close()

    def extract(self, url: str) -> SourceInfo:
        """What the page says. Raises Fault."""
        info = self._with_retries(url, lambda: self._session.extract(url))
        if info.get("acodec") == "none":
            raise Fault("no_audio", "none of its formats has sound")
        track = choose_track(info, self._languages)
        return source_info(url, info, track, self._read_transcript(track) if track else None)

    def download_audio(
        self,
        media: YtdlpMedia,
        cache_dir: Path,
        source_id: str,
        *,
        max_bytes: int | None = None,
        max_s: float | None = None,
    ) -> Path:
        """The source's audio in the node's media cache, fetched if it is not there. Raises Fault."""

        def fill(folder: Path) -> Path:
            return self._fetch(media, folder, Limits(max_bytes, max_s))

        return MediaCache(cache_dir).get(source_id, fill)

    def frame_offers(self, url: str) -> Offers:
        """What the page offers to see: without a request where this process has just extracted it. Raises Fault."""
        known = recall(url)
        return known if known is not None else offers_of(self._with_retries(url, lambda: self._session.extract(url)))

    def download_video(self, address: Address, folder: Path, *, max_bytes: int, max_s: float) -> Path:
        """The file behind an address of `frame_offers`. Raises Fault."""
        limits = Limits(max_bytes, max_s)
        return self._with_retries(address.url, lambda: self._session.download(address.as_info(), folder, limits))

    def read_image(self, url: str, headers: Mapping[str, str], max_bytes: int) -> bytes:
        """A picture's bytes; Fault, `too_large` for more than `max_bytes`."""
        too_large = Fault("too_large", f"the picture is larger than {max_bytes} bytes")
        return self._with_retries(url, lambda: self._session.read_media(url, headers, max_bytes, too_large))

    def _fetch(self, media: YtdlpMedia, folder: Path, limits: Limits) -> Path:
        address = media.address
        if address and address.valid_at(time.time()):
            planned = address.as_info()
            try:
                return self._with_retries(address.url, lambda: self._session.download(planned, folder, limits))
            except Fault as fault:
                if fault.reason not in REFUSED:
                    raise
                log.info("the planned address of %s is refused (%s): extracting again", media.url, fault.detail)
                _empty(folder)
        info = self._with_retries(media.url, lambda: self._session.extract(media.url))
        if info.get("acodec") == "none":
            raise Fault("no_audio", "none of its formats has sound")
        remember(media.url, info)
        return self._with_retries(info["url"], lambda: self._session.download(info, folder, limits))

    def _read_transcript(self, track: Track) -> Transcript:
        body = track.data.encode() if track.data else self._fetch_transcript(track)
        if not body.strip():
            raise Fault("transcript_empty", f"the {track.kind} transcript came back empty")
        try:
            return parse_transcript(body)
        except TranscriptError as error:
            raise Fault("transcript_broken", str(error)) from error

    def _fetch_transcript(self, track: Track) -> bytes:
        url = str(track.url)
        too_large = Fault("transcript_broken", f"the transcript is larger than {MAX_BYTES} bytes")
        try:
            return self._with_retries(url, lambda: self._session.read(url, track.http_headers, MAX_BYTES, too_large))
        except Fault as fault:
            if fault.transient:
                raise
            # A dead link to a transcript says nothing about the video: it must not read as gone.
            raise Fault("transcript_broken", f"the transcript cannot be had: {fault.detail}") from fault

    def _with_retries(self, url: str, action: Callable[[], T]) -> T:
        """Do it, again if the fault is one that passes; the host's other callers wait as well."""
        for attempt in range(self._options.retries + 1):
            self._pace.wait(url)
            try:
                return action()
            except Fault as fault:
                wait_s = max(fault.retry_after_s or 0.0, self._options.backoff_s * 2**attempt)
                if not fault.again or attempt == self._options.retries or wait_s > MAX_WAIT_S:
                    raise
                log.info("%s: %s; again in %.1f s", url, fault, wait_s)
                if fault.reason == "http_429":
                    self._pace.cool_down(url, wait_s)
                time.sleep(wait_s)
        raise AssertionError("the last attempt returns or raises")


def _empty(folder: Path) -> None:
    """Drop what a refused address has left, so that a part of it is not continued from another one."""
    for path in folder.iterdir():
        path.unlink()
