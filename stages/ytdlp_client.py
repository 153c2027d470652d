"""yt-dlp as a library: what a page says of its video, and the audio itself.

    client = YtdlpClient(options, languages=["en"], governor=Governor())
    info = client.extract("https://www.youtube.com/watch?v=...")      # one extraction, one transcript
    path = client.download_audio(info.media, cache_dir, source_id)    # one download, from the address found

Requests are few and bounded: at most one extraction and one transcript a source when planning; when running
one download from the planned address, and a new extraction only if that has run out or is refused. Each waits for its
turn and goes out as the session that it is given (stages/turns.py). yt-dlp's own retries are off: here every fault has
a reason (stages/faults.py) and is tried again only if that can help, at most `retries` times; what the whole site or
session should wait for is the governor's affair.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from stages.base import Watch, unwatched
from stages.cache import MediaCache
from stages.faults import Fault
from stages.frame_offers import Offers, offers_of, recall, remember
from stages.gate import AGAINST
from stages.governor import Asked, Governor
from stages.media import FOUND_BY, Address, YtdlpMedia, address_of
from stages.page_texts import note_page
from stages.ranged_fetch import RangeAnswer, RangedFetch
from stages.transcript import MAX_BYTES, Transcript, TranscriptError, parse_transcript
from stages.transcript_tracks import Track, choose_track
from stages.turns import Turns, site_of
from stages.ytdlp_download import Limits
from stages.ytdlp_info import SourceInfo, source_info
from stages.ytdlp_options import YtdlpOptions
from stages.ytdlp_session import OpenSessions, YtdlpSession

log = logging.getLogger(__name__)

#: A source that is blocked is tried once more, as another session or after the pause; then it is left for another day.
BLOCKED_TRIES = 2
#: A request ends itself at its limit; one that hangs where it cannot is ended with its worker, so much later.
WATCH_MARGIN_S = 60.0
#: Why a planned address may be refused although the video is alive: extract once more, then believe it.
REFUSED = frozenset({"blocked", "gone", "private", "http_other"})

T = TypeVar("T")


class YtdlpClient:
    """For one thread at a time."""

    def __init__(
        self,
        options: YtdlpOptions,
        *,
        languages: Sequence[str] = ("en",),
        governor: Asked | None = None,
        watch: Watch = unwatched,
    ) -> None:
        """governor: shared by all who fetch; without one this client keeps the pace by itself. watch: see Services."""
        self._options = options
        self._languages = tuple(languages)
        self._turns = Turns(governor or Governor(), options.rules(), when_shut=options.when_shut)
        self._sessions = OpenSessions(options)
        self._watch = watch
        self._media_sites: dict[str, str] = {}  # from a page's site to that of its media
        self._sessions.of(options.all_sessions()[0].name)  # mistakes of the recipe are raised here

    def close(self) -> None:
        self._sessions.close()

    def extract(self, url: str) -> SourceInfo:
        """What the page says. Raises Fault, SiteShut."""
        info = self._extract(url)
        if info.get("acodec") == "none":
            raise Fault("no_audio", "none of its formats has sound")
        track = choose_track(info, self._languages)
        transcript = self._read_transcript(track, info.get(FOUND_BY)) if track else None
        return source_info(url, info, track, transcript)

    def download_audio(
        self,
        media: YtdlpMedia,
        cache_dir: Path,
        source_id: str,
        *,
        max_bytes: int | None = None,
        max_s: float | None = None,
        ranged: RangedFetch | None = None,
    ) -> Path:
        """The source's audio in the node's media cache, fetched if it is not there; Fault where it cannot be had.

        `ranged` may bring only what is wanted of it: then the path is its list of blocks (stages/ranged_fetch.py).
        """

        def fill(folder: Path) -> Path:
            return self._fetch(media, folder, Limits(max_bytes, max_s), ranged)

        return MediaCache(cache_dir).get(source_id, fill)

    def frame_offers(self, url: str) -> Offers:
        """What the page offers to see: without a request where this process has just extracted it. Raises Fault."""
        known = recall(url)
        return known if known is not None else offers_of(self._extract(url))

    def download_video(self, address: Address, folder: Path, *, max_bytes: int, max_s: float) -> Path:
        """The file behind an address of `frame_offers`. Raises Fault."""
        return self._download(address.as_info(), folder, Limits(max_bytes, max_s), address.session)

    def read_image(self, url: str, headers: Mapping[str, str], max_bytes: int) -> bytes:
        """A picture's bytes; Fault, `too_large` for more than `max_bytes`."""
        too_large = Fault("too_large", f"the picture is larger than {max_bytes} bytes")
        return self._ask(url, lambda session: session.read_media(url, headers, max_bytes, too_large))

    def _fetch(self, media: YtdlpMedia, folder: Path, limits: Limits, ranged: RangedFetch | None) -> Path:
        address = media.address
        if address and address.valid_at(time.time()):
            try:
                if by_ranges := self._by_ranges(address, folder, ranged, planned=True):
                    return by_ranges
                return self._download(address.as_info(), folder, limits, address.session, planned=True)
            except Fault as fault:
                if fault.reason not in REFUSED:
                    raise
                log.info("the planned address of %s is refused (%s): extracting again", media.url, fault.detail)
            _empty(folder)
        for other_left in (len(self._options.all_sessions()) > 1, False):
            try:
                return self._fetch_anew(media, folder, limits, ranged)
            except _MediaBlocked as blocked:
                if not other_left:
                    raise blocked.fault from None
            _empty(folder)  # once more, as a session that the media's site lets in
        raise AssertionError("the last session returns or raises")

    def _fetch_anew(self, media: YtdlpMedia, folder: Path, limits: Limits, ranged: RangedFetch | None) -> Path:
        info = self._extract(media.url)
        if info.get("acodec") == "none":
            raise Fault("no_audio", "none of its formats has sound")
        remember(media.url, info)
        self._media_sites[site_of(media.url)] = site_of(info["url"])
        if media.address is None:  # nobody has asked this page before, or would each time: what it says is kept
            note_page(folder.parent, vars(source_info(media.url, info, None, None)))
        try:
            if by_ranges := self._by_ranges(address_of(info), folder, ranged):
                return by_ranges
            return self._download(info, folder, limits, info.get(FOUND_BY))
        except Fault as fault:
            if fault.reason == "blocked":
                raise _MediaBlocked(fault) from None
            raise

    def _by_ranges(
        self, address: Address | None, folder: Path, ranged: RangedFetch | None, *, planned: bool = False
    ) -> Path | None:
        """The list of blocks, kept beside the temporary `folder`; None where it shall be the whole file."""
        if address is None or ranged is None:
            return None

        def read(first: int, last: int) -> RangeAnswer:
            return self._ask(
                address.url,
                lambda session: session.read_range(address, first, last),
                session=address.session,
                bound=True,
                planned=planned,
            )

        return ranged(address, read, folder.parent)

    def _extract(self, url: str) -> dict[str, Any]:
        return self._ask(url, lambda session: session.extract(url), leads_to=self._media_sites.get(site_of(url), ""))

    def _download(
        self, info: Mapping[str, Any], folder: Path, limits: Limits, found_by: str | None, *, planned: bool = False
    ) -> Path:
        return self._ask(
            info["url"],
            lambda session: session.download(info, folder, limits),
            limit_s=limits.max_s,
            session=found_by,
            bound=True,
            planned=planned,
        )

    def _read_transcript(self, track: Track, found_by: str | None) -> Transcript:
        body = track.data.encode() if track.data else self._fetch_transcript(track, found_by)
        if not body.strip():
            raise Fault("transcript_empty", f"the {track.kind} transcript came back empty")
        try:
            return parse_transcript(body)
        except TranscriptError as error:
            raise Fault("transcript_broken", str(error)) from error

    def _fetch_transcript(self, track: Track, found_by: str | None) -> bytes:
        url = str(track.url)
        too_large = Fault("transcript_broken", f"the transcript is larger than {MAX_BYTES} bytes")
        try:
            return self._ask(
                url, lambda session: session.read(url, track.http_headers, MAX_BYTES, too_large), session=found_by
            )
        except Fault as fault:
            if fault.transient:
                raise
            # A dead link to a transcript says nothing about the video: it must not read as gone.
            raise Fault("transcript_broken", f"the transcript cannot be had: {fault.detail}") from fault

    def _ask(
        self,
        url: str,
        action: Callable[[YtdlpSession], T],
        *,
        limit_s: float | None = None,
        session: str | None = None,
        bound: bool = False,
        planned: bool = False,
        leads_to: str = "",
    ) -> T:
        """Do it when it is its turn, again if the fault is one that passes. `limit_s`: of one try, if not the usual.

        For the others see stages/turns.py.
        """
        blocked = 0
        for attempt in range(self._options.retries + 1):
            try:
                with self._watch("turn"):  # a pause may take hours: nobody ends a worker for waiting
                    turn = self._turns.take(url, session=session, bound=bound, leads_to=leads_to)
                limit = self._watch("request", url, limit_s=(limit_s or self._options.request_limit_s) + WATCH_MARGIN_S)
                with self._turns.reported(turn, url, planned=planned), limit:
                    return action(self._sessions.of(turn.session))
            except Fault as fault:
                blocked += fault.reason == "blocked"
                again = fault.again or (fault.reason == "blocked" and blocked < BLOCKED_TRIES and not planned)
                if not again or attempt == self._options.retries:
                    raise
                log.info("%s: %s; once more", site_of(url), fault)
                own_wait_s = 0.0 if fault.reason in AGAINST else self._options.backoff_s * 2**attempt
            time.sleep(own_wait_s)
        raise AssertionError("the last attempt returns or raises")


class _MediaBlocked(Exception):
    """The page was had, its media were not: the session is let in at one site and not at the other."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault = fault


def _empty(folder: Path) -> None:
    """Drop what a refused address has left, so that a part of it is not continued from another one."""
    for path in folder.iterdir():
        path.unlink()
