"""yt-dlp as a library: what a page says of its video, and the audio itself.

    client = YtdlpClient(options, languages=["en"], pace=Pace(1.0))
    info = client.extract("https://www.youtube.com/watch?v=...")      # one extraction, one transcript
    path = client.download_audio(info.media, cache_dir, source_id)    # one download, from the address found

Requests are few and bounded: at most one extraction and one transcript a source when planning; when running
one download from the planned address, and a new extraction only if that has run out or is refused. yt-dlp's
own retries are off: here every fault has a reason (stages/faults.py), is tried again only if that can help,
waits as `Retry-After` says or the back-off doubles, and gives up after `retries`.

Nothing but HTTP(S) is fetched and nothing is run: no external downloaders, no postprocessors, no browser
cookies, no update checks, no cache folder, no file:// addresses, and only the plugins that the recipe
names.
"""

from __future__ import annotations

import io
import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from stages.cache import MediaCache
from stages.faults import Fault, classify
from stages.frame_offers import Offers, offers_of, recall, remember
from stages.media import Address, YtdlpMedia, address_of
from stages.pace import Pace
from stages.transcript import MAX_BYTES, Transcript, TranscriptError, parse_transcript
from stages.transcript_tracks import Track, choose_track
from stages.ytdlp_plugins import use_plugins

log = logging.getLogger(__name__)

#: A host that asks for a longer pause is left alone: the source fails for now, as transient.
MAX_WAIT_S = 300.0
#: Why a planned address may be refused although the video is alive: extract once more, then believe it.
REFUSED = frozenset({"blocked", "gone", "private", "http_other"})
#: What yt-dlp knows of a video beyond the columns, as the reference keeps it (goes to `source_meta`).
META_KEYS = (
    *("upload_date", "view_count", "like_count", "dislike_count", "channel_follower_count"),
    *("channel", "channel_id", "channel_url", "resolution", "fps", "aspect_ratio", "audio_channels"),
    *("tags", "categories", "extractor"),
)

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class YtdlpOptions:
    """The recipe's `ytdlp` section."""

    plugin_dirs: tuple[str, ...] = ()
    cookies_file: str | None = None
    proxy: str | None = None
    user_agent: str | None = None
    timeout_s: float = 30.0
    retries: int = 3
    backoff_s: float = 2.0
    requests_per_s: float = 1.0

    @classmethod
    def from_mapping(cls, section: Mapping[str, Any]) -> YtdlpOptions:
        """From plain values; keys this class does not know are left out."""
        known = {f.name for f in fields(cls)}
        values = {key: value for key, value in section.items() if key in known}
        return cls(**{**values, "plugin_dirs": tuple(values.get("plugin_dirs", ()))})


@dataclass(frozen=True, kw_only=True)
class SourceInfo:
    """What one extraction and one transcript tell of a video; `transcript` is None where there is none."""

    media: YtdlpMedia
    url: str
    title: str | None = None
    description: str | None = None
    license: str | None = None
    uploader: str | None = None
    duration_ms: int | None = None
    transcript: Transcript | None = None
    transcript_kind: str = "none"
    transcript_lang: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)


class YtdlpClient:
    """One YoutubeDL object: for one thread at a time."""

    def __init__(self, options: YtdlpOptions, *, languages: Sequence[str] = ("en",), pace: Pace | None = None) -> None:
        use_plugins(options.plugin_dirs)
        import yt_dlp

        self._options = options
        self._languages = tuple(languages)
        self._pace = pace or Pace(options.requests_per_s)
        self._ydl = yt_dlp.YoutubeDL(_params(options))

    def close(self) -> None:
        self._ydl.close()

    def extract(self, url: str) -> SourceInfo:
        """What the page says. Raises Fault."""
        info = self._with_retries(url, lambda: self._extract_once(url))
        if info.get("acodec") == "none":
            raise Fault("no_audio", "none of its formats has sound")
        page = info.get("webpage_url") or url
        track = choose_track(info, self._languages)
        return SourceInfo(
            media=YtdlpMedia(url=page, address=address_of(info)),
            url=page,
            title=_title(info),
            description=_text(info.get("description")),
            license=_text(info.get("license")),
            uploader=_text(info.get("uploader")) or _text(info.get("channel")),
            duration_ms=_duration_ms(info.get("duration")),
            transcript=self._read_transcript(track) if track else None,
            transcript_kind=track.kind if track else "none",
            transcript_lang=track.language if track else None,
            meta={key: info[key] for key in META_KEYS if info.get(key) is not None},
        )

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
            return self._fetch(media, folder, _Limits(max_bytes, max_s))

        return MediaCache(cache_dir).get(source_id, fill)

    def frame_offers(self, url: str) -> Offers:
        """What the page offers to see: without a request where this process has just extracted it. Raises Fault."""
        known = recall(url)
        return known if known is not None else offers_of(self._with_retries(url, lambda: self._extract_once(url)))

    def download_video(self, address: Address, folder: Path, *, max_bytes: int, max_s: float) -> Path:
        """The file behind an address of `frame_offers`. Raises Fault."""
        limits = _Limits(max_bytes, max_s)
        return self._with_retries(address.url, lambda: self._download_once(address.as_info(), folder, limits))

    def read_image(self, url: str, headers: Mapping[str, str], max_bytes: int) -> bytes:
        """A picture's bytes; Fault, `too_large` for more than `max_bytes`."""
        too_large = Fault("too_large", f"the picture is larger than {max_bytes} bytes")
        return self._with_retries(url, lambda: self._read_bounded(url, headers, max_bytes, too_large))

    def _fetch(self, media: YtdlpMedia, folder: Path, limits: _Limits) -> Path:
        address = media.address
        if address and address.valid_at(time.time()):
            planned = address.as_info()
            try:
                return self._with_retries(address.url, lambda: self._download_once(planned, folder, limits))
            except Fault as fault:
                if fault.reason not in REFUSED:
                    raise
                log.info("the planned address of %s is refused (%s): extracting again", media.url, fault.detail)
                _empty(folder)
        info = self._with_retries(media.url, lambda: self._extract_once(media.url))
        if info.get("acodec") == "none":
            raise Fault("no_audio", "none of its formats has sound")
        remember(media.url, info)
        return self._with_retries(info["url"], lambda: self._download_once(info, folder, limits))

    def _extract_once(self, url: str) -> dict[str, Any]:
        with _faults():
            info = self._ydl.extract_info(url, download=False)
        if not isinstance(info, dict):
            raise Fault("extractor_failed", "the extractor returned nothing")
        if info.get("_type", "video") != "video":
            raise Fault("playlist", "the address holds several videos: list them one by one")
        if info.get("is_live") or info.get("live_status") in {"is_live", "is_upcoming"}:
            raise Fault("live", "a stream that has not ended")
        if not info.get("url"):
            raise Fault("no_audio", "none of its formats can be fetched")
        return info

    def _download_once(self, info: Mapping[str, Any], folder: Path, limits: _Limits) -> Path:
        """One try with yt-dlp's own downloader, which checks lengths and takes up a part that is there."""
        from yt_dlp.downloader import get_suitable_downloader
        from yt_dlp.downloader.external import ExternalFD

        _hide_ffmpeg()
        wanted = dict(info)
        downloader_class = get_suitable_downloader(wanted, self._ydl.params)
        if downloader_class is None or issubclass(downloader_class, ExternalFD):
            raise Fault("unsupported", f"the protocol {wanted.get('protocol')} needs another program")
        downloader = downloader_class(self._ydl, self._ydl.params)
        downloader.report_retry = _raise_first  # keeps the cause, which report_error turns into text
        downloader.add_progress_hook(limits.check_from(time.monotonic()))
        path = folder / f"audio.{wanted.get('ext') or 'bin'}".replace("/", "_")[:40]
        with _faults():
            done, _ = downloader.download(str(path), wanted)
        if not done or not path.exists():
            raise Fault("truncated", "the download ended early")
        if path.stat().st_size == 0:
            raise Fault("empty_file", "the media has no bytes")
        return path

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
            return self._with_retries(url, lambda: self._read_bounded(url, track.http_headers, MAX_BYTES, too_large))
        except Fault as fault:
            if fault.transient:
                raise
            # A dead link to a transcript says nothing about the video: it must not read as gone.
            raise Fault("transcript_broken", f"the transcript cannot be had: {fault.detail}") from fault

    def _read_bounded(self, url: str, headers: Mapping[str, str], max_bytes: int, too_large: Fault) -> bytes:
        from yt_dlp.networking import Request

        deadline_s = time.monotonic() + 10 * self._options.timeout_s
        body = io.BytesIO()
        with _faults(), self._ydl.urlopen(Request(url, headers=dict(headers))) as response:
            while chunk := response.read(65_536):
                body.write(chunk)
                if body.tell() > max_bytes:
                    raise too_large
                if time.monotonic() > deadline_s:
                    raise Fault("timeout", "the body did not end in time")
        return body.getvalue()

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


@dataclass(frozen=True)
class _Limits:
    """How much a download may bring and how long it may take."""

    max_bytes: int | None
    max_s: float | None

    def check_from(self, started_s: float) -> Callable[[dict[str, Any]], None]:
        def check(status: dict[str, Any]) -> None:
            if self.max_bytes is not None and (status.get("downloaded_bytes") or 0) > self.max_bytes:
                raise Fault("too_large", f"the media is larger than {self.max_bytes} bytes")
            if self.max_s is not None and time.monotonic() - started_s > self.max_s:
                raise Fault("too_slow", f"the download took longer than {self.max_s:g} s")

        return check


class _Quiet:
    """yt-dlp talks to `logging` only, in this module's name; expected faults are rows, not warnings."""

    def debug(self, message: str) -> None:
        log.debug("%s", message)

    info = warning = error = debug


@contextmanager
def _faults() -> Iterator[None]:
    """Whatever a site's page makes yt-dlp raise becomes a Fault, also when an extractor is plainly broken.

    Only a disk that cannot be written to is passed on as it is: that is ours.
    """
    try:
        yield
    except Fault:
        raise
    except Exception as error:
        if "unable to write data" in str(error) or "unable to open for writing" in str(error):
            raise OSError(str(error)) from error
        raise classify(error) from error


def _raise_first(error: BaseException, *_: Any, **__: Any) -> None:
    raise error


def _hide_ffmpeg() -> None:
    """yt-dlp's own HLS downloader hands what it does not know to an ffmpeg program where a machine has one.

    Strangers' playlists are not to be run through it, and no clip may depend on what is installed. yt-dlp keeps the
    program's place per thread, hence before each download.
    """
    from yt_dlp.postprocessor.ffmpeg import FFmpegPostProcessor

    FFmpegPostProcessor._ffmpeg_location.set(os.devnull + "/no-ffmpeg")


def _params(options: YtdlpOptions) -> dict[str, Any]:
    params: dict[str, Any] = {
        "quiet": True,
        "no_warnings": True,
        "noprogress": True,
        "color": "no_color",
        "logger": _Quiet(),
        "warn_when_outdated": False,
        "cachedir": False,
        "enable_file_urls": False,
        "geo_bypass": False,
        "noplaylist": True,
        "extract_flat": "in_playlist",
        "playlist_items": "1",
        "format": _choose_format,
        # Needed to make extractors list their subtitles; nothing is written without a download.
        "writesubtitles": True,
        "writeautomaticsub": True,
        "external_downloader": {"default": "native"},
        "fixup": "never",
        "updatetime": False,
        "skip_unavailable_fragments": False,
        "socket_timeout": options.timeout_s,
        "retries": 0,
        "extractor_retries": 0,
        "fragment_retries": 0,
        "file_access_retries": 0,
        "proxy": options.proxy,
        # As text, so that yt-dlp does not write the file back, from many threads at once.
        "cookiefile": _cookies(options.cookies_file),
    }
    if options.user_agent:
        params["http_headers"] = {"User-Agent": options.user_agent}
    return params


def _cookies(path: str | None) -> io.StringIO | None:
    return io.StringIO(Path(path).read_text(encoding="utf-8")) if path else None


def _choose_format(context: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The best format that is audio alone; else the smallest with sound; else any, which says it has none."""
    formats = [f for f in context["formats"] if not str(f.get("protocol") or "").startswith(("mhtml", "rtmp", "ws"))]
    with_sound = [f for f in formats if f.get("acodec") != "none"]
    audio_only = [f for f in with_sound if f.get("vcodec") == "none"]
    if audio_only:
        yield audio_only[-1]  # yt-dlp sorts them from worst to best
    elif with_sound:
        yield min(with_sound, key=_size)
    else:
        yield from formats[:1]


def _size(media_format: Mapping[str, Any]) -> float:
    for key in ("filesize", "filesize_approx", "tbr"):
        value = media_format.get(key)
        if isinstance(value, (int, float)) and value > 0:
            return float(value)
    return math.inf


def _empty(folder: Path) -> None:
    """Drop what a refused address has left, so that a part of it is not continued from another one."""
    for path in folder.iterdir():
        path.unlink()


def _title(info: Mapping[str, Any]) -> str | None:
    """The title, without the number that yt-dlp's generic extractor adds to a page's only video."""
    title = _text(info.get("title"))
    return title.removesuffix(" (1)") if title and info.get("extractor") in {"generic", "html5"} else title


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _duration_ms(value: Any) -> int | None:
    if not isinstance(value, (int, float)) or not math.isfinite(value) or value <= 0:
        return None
    return round(value * 1000)
