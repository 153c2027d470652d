"""One download with yt-dlp's own downloader, which checks lengths and takes up a part that is there."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.faults import Fault
from stages.secrets import Mask
from stages.ytdlp_faults import or_fault

if TYPE_CHECKING:
    from yt_dlp import YoutubeDL


@dataclass(frozen=True)
class Limits:
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


def download(ydl: YoutubeDL, info: Mapping[str, Any], folder: Path, limits: Limits, mask: Mask) -> Path:
    """The media behind `info` as a file in `folder`. One try. Raises Fault.

    Only the downloaders that do all by themselves, over HTTP, are let in: others of yt-dlp's run a program (for RTMP)
    or follow a live stream.
    """
    from yt_dlp.downloader import get_suitable_downloader
    from yt_dlp.downloader.dash import DashSegmentsFD
    from yt_dlp.downloader.hls import HlsFD
    from yt_dlp.downloader.http import HttpFD
    from yt_dlp.downloader.ism import IsmFD

    _hide_ffmpeg()
    wanted = dict(info)
    downloader_class = get_suitable_downloader(wanted, ydl.params)
    if downloader_class not in (HttpFD, HlsFD, DashSegmentsFD, IsmFD):
        raise Fault("unsupported", "its protocol needs another program, or is a live stream's")
    downloader = downloader_class(ydl, ydl.params)
    downloader.report_retry = _raise_first  # keeps the cause, which report_error turns into text
    downloader.add_progress_hook(limits.check_from(time.monotonic()))
    ext = str(wanted.get("ext"))
    path = folder / f"audio.{ext if re.fullmatch('[A-Za-z0-9]{1,8}', ext) else 'bin'}"
    done, _ = or_fault(lambda: downloader.download(str(path), wanted), mask)
    if not done or not path.exists():
        raise Fault("truncated", "the download ended early")
    if path.stat().st_size == 0:
        raise Fault("empty_file", "the media has no bytes")
    return path


def _raise_first(error: BaseException, *_: Any, **__: Any) -> None:
    raise error


def _hide_ffmpeg() -> None:
    """yt-dlp's own HLS downloader hands what it does not know to an ffmpeg program where a machine has one.

    Strangers' playlists are not to be run through it, and no clip may depend on what is installed. yt-dlp keeps the
    program's place per thread, hence before each download.
    """
    from yt_dlp.postprocessor.ffmpeg import FFmpegPostProcessor

    FFmpegPostProcessor._ffmpeg_location.set(os.devnull + "/no-ffmpeg")
