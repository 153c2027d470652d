"""Single frames of a video file, by seeking: the one that a player would show at a given time.

    with VideoFrames("talk.mp4", max_side_px=384) as video:
        image = video.at(61_500)                # a PIL image, RGB

Times are those of the audio: milliseconds from the container's start. Ask in ascending order: a time soon after the
last one is decoded towards, a far one is sought. Cover art (a still picture inside a music file) is no video.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from av.error import FFmpegError
from av.stream import Discard, Disposition

from audio.faults import DecodeError
from audio.media import as_decode_error, open_media
from stages.images import MAX_PIXELS

if TYPE_CHECKING:
    from PIL.Image import Image

#: A frame this far ahead is decoded towards; what lies further is sought.
FORWARD_S = 3
#: So many frames are decoded for one picture, at most: files with hardly a key frame must not hold up their unit.
MAX_DECODED = 20_000
#: So many packets refused in a row are too many.
MAX_REFUSED = 200


class NoVideo(Exception):
    """The file has no moving pictures."""


class VideoFrames:
    """One video file, open. NoVideo, or DecodeError when it is no media or its pictures are beyond all bounds."""

    def __init__(self, path: str | Path, max_side_px: int = 1024) -> None:
        self._max_side_px = max_side_px
        self._container = open_media(path)
        try:
            self._stream = _video_stream(self._container)
            self._start_s = Fraction(self._container.start_time or 0, 1_000_000)
            self._frames = self._decoded()
        except BaseException:
            self._container.close()
            raise
        self._shown: Any = None  # the frame on the screen
        self._next: Any = None  # decoded already, to be shown later
        self._sought_in_vain = False

    def close(self) -> None:
        self._container.close()

    def __enter__(self) -> VideoFrames:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def at(self, time_ms: int) -> Image:
        """The frame on the screen then: the first one before the video begins, the last one after it has ended.

        DecodeError when nothing there can be decoded.
        """
        pts = int((self._start_s + Fraction(time_ms, 1000)) / self._stream.time_base)
        with as_decode_error("no frame can be decoded there"):
            if self._is_far(pts):
                self._seek(pts)
            self._play_until(pts)
            if self._shown is None:
                raise DecodeError("undecodable", f"no frame can be decoded around {time_ms} ms")
            return _as_image(self._shown, self._max_side_px)

    def _is_far(self, pts: int) -> bool:
        if self._shown is None:
            return bool(pts * self._stream.time_base - self._start_s > FORWARD_S)
        if pts < self._shown.pts:
            return True
        return not self._sought_in_vain and bool((pts - self._shown.pts) * self._stream.time_base > FORWARD_S)

    def _seek(self, pts: int) -> None:
        """Be at the last key frame before `pts`. One that lies before the frame shown tells that the next is far."""
        before = self._shown
        for back_s in (0, 10):
            try:
                self._container.seek(max(pts - int(back_s / self._stream.time_base), 0), stream=self._stream)
            except FFmpegError:
                continue
            self._frames = self._decoded()
            self._shown, self._next = None, next(self._frames, None)
            if self._next is not None and self._next.pts <= pts:
                break
        if before is not None and self._next is not None and self._next.pts <= before.pts <= pts:
            self._sought_in_vain = True

    def _play_until(self, pts: int) -> None:
        for _ in range(MAX_DECODED):
            if self._next is None:
                self._next = next(self._frames, None)
            if self._next is None or (self._shown is not None and self._next.pts > pts):
                return
            self._shown, self._next = self._next, None
        raise DecodeError("undecodable", f"the next key frame is more than {MAX_DECODED} frames away")

    def _decoded(self) -> Iterator[Any]:
        """Frames with a time stamp, from where the container stands; packets that do not decode are left out."""
        refused = 0
        for packet in self._packets():
            try:
                frames = self._stream.codec_context.decode(packet)
            except (FFmpegError, ValueError) as error:
                refused += 1
                if refused > MAX_REFUSED:
                    raise DecodeError("undecodable", "too many packets in a row cannot be decoded") from error
                continue
            for frame in frames:
                refused = 0
                if frame.pts is not None:
                    yield frame

    def _packets(self) -> Iterator[Any]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                yield next(packets)
            except (StopIteration, FFmpegError):
                return


def _video_stream(container: Any) -> Any:
    """The main video stream, the others switched off."""
    moving = [
        stream
        for stream in container.streams.video
        if stream.codec_context is not None and not stream.disposition & Disposition.attached_pic
    ]
    if not moving:
        raise NoVideo
    best = container.streams.best("video")
    chosen = next((stream for stream in moving if best is not None and stream.index == best.index), moving[0])
    codec = chosen.codec_context
    if codec.width * codec.height > MAX_PIXELS:
        raise DecodeError("undecodable", f"its pictures have {codec.width} x {codec.height} pixels")
    codec.options = {"max_pixels": str(MAX_PIXELS)}  # for streams that grow on the way
    codec.thread_count = 1
    for stream in container.streams:
        if stream.index != chosen.index:
            stream.discard = Discard.all
    return chosen


def _as_image(frame: Any, max_side_px: int) -> Image:
    """RGB, upright, no side longer than that."""
    share = min(1.0, max_side_px / max(frame.width, frame.height))
    width, height = max(1, round(frame.width * share)), max(1, round(frame.height * share))
    image: Image = frame.reformat(width=width, height=height, format="rgb24", interpolation="AREA").to_image()
    turn = int(getattr(frame, "rotation", 0) or 0)  # degrees counterclockwise, of phones held upright
    return image.rotate(turn, expand=True) if turn % 360 else image
