"""Open a media file that nobody vouches for, and find its audio.

Containers come from strangers. FFmpeg would follow a playlist that calls itself `song.mp4` to other local files or
into the network; so only the demuxers below may look at a file, and only the file itself may be read.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol, TypeAlias, runtime_checkable

import av
from av.error import FFmpegError
from av.stream import Discard

from audio.faults import DecodeError


@runtime_checkable
class Reopenable(Protocol):
    """Media that are no file of their own: each `reopen` gives another view of them, with a position of its own."""

    def reopen(self) -> IO[bytes]: ...


#: Where media lies: a path, an open binary file that can seek, or what gives such files.
Media: TypeAlias = str | Path | IO[bytes] | Reopenable

#: Containers with sound of their own. Playlists, image folders, devices and scripts are left out on purpose.
CONTAINERS = (
    "mov,mp4,matroska,webm,ogg,mp3,wav,w64,flac,aac,mpegts,mpeg,avi,flv,asf,aiff,au,caf,amr,ac3,eac3,dts,ape,tta,wv,"
    "mpc,mpc8,rm,gxf,mxf"
)

#: Containers whose time stamps stay exact after a seek. The others are read packet by packet from the start
#: (cheap: packets that nobody wants are not decoded).
SEEKABLE = frozenset({"mov", "mp4", "matroska", "webm", "ogg", "wav", "w64", "flac"})


@contextmanager
def as_decode_error(what: str) -> Iterator[None]:
    """Turn whatever the decoder's library raises into DecodeError('undecodable')."""
    try:
        yield
    except (FFmpegError, ValueError, OSError, RuntimeError) as error:
        text = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DecodeError("undecodable", f"{what}: {text}") from error


def open_media(media: Media) -> Any:
    """An open container; DecodeError when the file is empty or no known container."""
    if isinstance(media, Reopenable):
        media = media.reopen()
    _refuse_empty(media)
    with as_decode_error("the container cannot be opened"):
        return av.open(
            media if not isinstance(media, (str, Path)) else f"file:{os.fspath(media)}",
            mode="r",
            metadata_errors="replace",
            options={"format_whitelist": CONTAINERS, "protocol_whitelist": "file"},
        )


def audio_stream(container: Any) -> Any | None:
    """The main audio stream, the others switched off; None when there is none."""
    chosen = container.streams.best("audio")
    if chosen is None or chosen.codec_context is None:
        return None
    for stream in container.streams:
        if stream.index != chosen.index:
            stream.discard = Discard.all
    chosen.codec_context.thread_count = 1
    return chosen


def can_seek(container: Any) -> bool:
    """True when a time stamp read after a seek can be trusted to the sample."""
    stream = container.streams.best("audio")
    if container.format.name in ("wav", "w64") and not stream.codec_context.name.startswith("pcm_"):
        return False  # blocks of packed samples: a seek goes to a byte, not to a block
    return not SEEKABLE.isdisjoint(container.format.name.split(","))


def _refuse_empty(media: str | Path | IO[bytes]) -> None:
    with as_decode_error("the file cannot be read"):
        if isinstance(media, (str, Path)):
            size = os.stat(media).st_size  # noqa: PTH116  one call for str and Path
        else:
            size = media.seek(0, io.SEEK_END)
            media.seek(0)
    if size == 0:
        raise DecodeError("empty_file", "the file has no bytes")
