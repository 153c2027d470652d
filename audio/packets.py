"""The packets of one audio stream, in order, from wherever they are wanted.

    t ──►  [p][p][p][p][p][p][p][p][p][p][p]
                    ▲ starting_at(t): the last packet stamped t or before, then the ones after it

Packets are looked at, not decoded: that is cheap, so a near target is reached by reading on, and a container whose
seeking cannot be trusted by reading from the start. A far target is sought; a seek that lands late is tried again
further back, then given up for a read from the start. The last packets are kept, so that clips that follow each other
need no seek at all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from av.error import FFmpegError

from audio.faults import DecodeError
from audio.media import Media, Reopenable, audio_stream, can_seek, open_media

#: Packets this much older than the newest are forgotten.
KEEP_S = 3.0
#: A target this far ahead is sought rather than read towards.
SEEK_BEYOND_S = 5.0

#: Decoders with a random generator of their own, for noise that the encoder only described.
_DRAW_NOISE = frozenset({"aac", "ac3", "eac3"})


class PacketReader:
    """Reads packets of the main audio stream of `media`."""

    def __init__(self, media: Media) -> None:
        self._media = media
        self._container: Any = None
        self._stream: Any = None
        self._decoder_used = False
        self._spare: Any = None  # a second opening of the file, for its unused decoder
        self._rewind()
        self.seekable = can_seek(self._container)

    @property
    def container(self) -> Any:
        return self._container

    @property
    def stream(self) -> Any:
        return self._stream

    def starting_at(self, pts: int) -> Iterator[Any]:
        """Packets from the last one stamped at or before `pts` (or the first there is) to the stream's end."""
        self._go_to(pts)
        first = self._last_at_or_before(pts)
        self._clean_decoder(at_start=first == 0 and self._holds_start)
        for _, packet in list(self._kept)[first:]:
            yield packet
        while self._read():
            yield self._kept[-1][1]

    def from_start(self) -> Iterator[Any]:
        """Every packet of the stream."""
        return self.starting_at(self._kept[0][0] if self._kept else 0)

    def _last_at_or_before(self, pts: int) -> int:
        return max((at for at, (stamp, _) in enumerate(self._kept) if stamp <= pts), default=0)

    def close(self) -> None:
        for container in (self._container, self._spare):
            if container is not None:
                container.close()

    def _clean_decoder(self, *, at_start: bool) -> None:
        """Make `decoder` forget what it decoded before.

        Flushing is enough in the middle of most streams, where the run-in hides what is left. It is not at a stream's
        start, nor for codecs that draw noise: only a new decoder draws the same noise for the same packets.
        """
        if self._decoder_used and (at_start or self._stream.codec_context.name in _DRAW_NOISE):
            self._new_decoder(at_start)
        self._decoder_used = True
        self.decoder.flush_buffers()

    def _new_decoder(self, at_start: bool) -> None:
        if not isinstance(self._media, (str, Path, Reopenable)):  # an open file has one position: no second container
            if at_start:
                self._rewind()
            return
        if self._spare is not None:
            self._spare.close()
        self._spare = open_media(self._media)
        stream = audio_stream(self._spare)
        if stream is not None:
            self.decoder = stream.codec_context

    def _go_to(self, pts: int) -> None:
        newest = self._kept[-1][0] if self._kept else None
        behind = not self._holds_start and (not self._kept or self._kept[0][0] > pts)
        far = newest is not None and pts - newest > self._ticks(SEEK_BEYOND_S)
        if behind or (far and self.seekable and not self._ended):
            self._jump(pts)
        while (not self._kept or self._kept[-1][0] <= pts) and self._read():
            pass

    def _jump(self, pts: int) -> None:
        """Be at or before `pts`, close to it where the container allows."""
        if self.seekable and pts > self._first_stamp:
            for back_s in (0.0, SEEK_BEYOND_S):
                if self._seek(pts - self._ticks(back_s)) and self._kept[0][0] <= pts:
                    return
        self._rewind()

    def _seek(self, pts: int) -> bool:
        """False when the seek failed or nothing with a time stamp follows."""
        try:
            self._container.seek(pts, stream=self._stream, backward=True)
        except FFmpegError:
            return False
        self._start_reading(holds_start=False)
        return self._read()

    def _rewind(self) -> None:
        """Open anew: only then is the reader in the very state of a first read."""
        self.close()
        self._spare = None
        self._container = open_media(self._media)
        self._stream = audio_stream(self._container)
        if self._stream is None:
            raise DecodeError("no_audio", "the file has no audio stream")
        self.decoder = self._stream.codec_context
        self._decoder_used = False
        self._keep = self._ticks(KEEP_S)
        self._start_reading(holds_start=True)
        self._read()
        self._first_stamp = self._kept[0][0] if self._kept else 0

    def _start_reading(self, *, holds_start: bool) -> None:
        self._packets = self._container.demux(self._stream)
        self._kept: deque[tuple[int, Any]] = deque()
        self._holds_start = holds_start
        self._ended = False

    def _read(self) -> bool:
        """Read one more packet into the kept ones; False at the end of what can be read."""
        while not self._ended:
            try:
                packet = next(self._packets)
            except (StopIteration, FFmpegError, OSError):
                break
            if packet.size == 0:  # the library's sign that the stream is over
                break
            stamp = packet.pts if packet.pts is not None else packet.dts
            if stamp is None:
                if not self._kept and not self._holds_start:
                    continue  # after a seek, nothing is known until the first stamp
                stamp = self._kept[-1][0] if self._kept else 0
            self._kept.append((stamp, packet))
            self._forget(stamp - self._keep)
            return True
        self._ended = True
        return False

    def _forget(self, before: int) -> None:
        while len(self._kept) > 1 and self._kept[1][0] <= before:
            self._kept.popleft()
            self._holds_start = False

    def _ticks(self, seconds: float) -> int:
        return int(seconds / self._stream.time_base)
