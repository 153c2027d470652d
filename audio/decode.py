"""Decode only what is wanted: spans of a media file, by seeking, right to the sample.

    with AudioSource("talk.m4a") as source:
        wave = source.segment(61_500, 71_500)                           # mono float32 at the file's own rate
        wave = source.segment(61_500, 71_500, sample_rate_hz=48_000)    # ... at 48 kHz

For each span the decoder starts clean a little before it (lossy codecs need some packets to settle: `PREROLL_S`) and
stops right after it. What a span gives depends on the file and the span only, never on the spans before it. (It is
the same as in the whole file decoded, but for AAC's and AC-3's noise bands: those are the decoder's to draw.)
Six 10 s clips of a 4 min AAC file cost a fifth of decoding it whole (benchmarks/decode.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple

import numpy as np
from av.error import FFmpegError

from audio.clock import Clock, Stamp, make_clock
from audio.faults import DecodeError
from audio.fold import FoldMeter
from audio.media import Media, audio_stream, open_media
from audio.mixdown import Channels, Wave, channels_of, in_runs
from audio.packets import PacketReader
from audio.resample import resample
from audio.timeline import placed

__all__ = ["AudioSource", "DecodeError", "Folded", "MediaInfo", "decode_segments", "probe"]

#: Audio decoded and thrown away before a span. MP3's bit reservoir and Opus's memory (speech at 16 kbit/s is slowest)
#: have faded by then to below 1e-4.
PREROLL_S = 1.0
#: Native samples on either side of a span that the resampling filter may look at.
RESAMPLE_CONTEXT_S = 0.05
#: Decoding starts this long before a span, at whatever rate it is wanted (two rates' grids meet every 50 ms or sooner,
#: but for rates nobody uses): what is read of a file depends on the span only.
LEAD_S = PREROLL_S + 2 * RESAMPLE_CONTEXT_S
#: `read_span` reads on for so long, which is more than any rate needs.
_READ_ON_S = 1.5
#: No recording has more (DXD has 352.8 kHz; 22.2 sound has 24): a header's word for it would only cost memory.
MAX_SAMPLE_RATE_HZ = 384_000
MAX_CHANNELS = 64
#: Frames looked at on opening.
_FIRST_FRAMES = 24
#: Two start times this close are the same one.
_NEAR_S = Fraction(1, 1000)
#: So many more packets refused than decoded are too many.
_REFUSED_AT_MOST = 50


@dataclass(frozen=True)
class MediaInfo:
    """What a container's header says of its audio. `duration_ms` may be an estimate."""

    duration_ms: int | None
    sample_rate_hz: int | None
    channels: int | None
    codec: str | None
    has_audio: bool


class Folded(NamedTuple):
    """A span as a mono wave; `mono_fold_db` as audio/fold.py has it, None where there was nothing to fold."""

    wave: Wave
    mono_fold_db: float | None


def probe(media: str | Path | IO[bytes]) -> MediaInfo:
    """The header's word on `media`, nothing decoded; DecodeError when it is empty or no media at all."""
    container = open_media(media)
    try:
        stream = audio_stream(container)
        if stream is None:
            return MediaInfo(_duration_ms(container, None), None, None, None, has_audio=False)
        codec = stream.codec_context
        return MediaInfo(
            duration_ms=_duration_ms(container, stream),
            sample_rate_hz=codec.sample_rate or None,
            channels=codec.channels or None,
            codec=codec.codec.canonical_name,
            has_audio=True,
        )
    finally:
        container.close()


def decode_segments(path: str | Path, spans_ms: Sequence[tuple[int, int]], sample_rate_hz: int) -> Iterator[Wave]:
    """Each span as mono float32 at `sample_rate_hz`; round(duration * rate) samples unless the file ends first."""
    with AudioSource(path) as source:
        for start_ms, end_ms in spans_ms:
            yield source.segment(start_ms, end_ms, sample_rate_hz)


class AudioSource:
    """One media file, open. DecodeError on opening when there is nothing to decode."""

    def __init__(self, media: Media) -> None:
        self._reader = PacketReader(media)
        #: Samples given out so far that were no finite numbers (float codecs can carry anything): silence instead.
        self.not_finite = 0
        try:
            stamps = self._first_frames()
            codec = self._reader.stream.codec_context
            self._channels = codec.channels
            self.declared_ms = _duration_ms(self._reader.container, self._reader.stream, estimates=False)
            self._duration_ms = _duration_ms(self._reader.container, self._reader.stream)
            self._clock = self._make_clock(stamps)
        except BaseException:
            self._reader.close()
            raise

    @property
    def sample_rate_hz(self) -> int:
        return self._clock.sample_rate_hz

    @property
    def channels(self) -> int:
        return int(self._channels)

    @property
    def duration_ms(self) -> int | None:
        """As the container declares it; None when it does not."""
        return self._duration_ms

    def segment(self, start_ms: int, end_ms: int, sample_rate_hz: int | None = None) -> Wave:
        """The span as mono float32; shorter (or empty) when the file ends first.

        ValueError for a span that is no span. DecodeError when the file's bytes there cannot be decoded.
        """
        return self._segment(start_ms, end_ms, sample_rate_hz or self.sample_rate_hz, None)

    def folded_segment(self, start_ms: int, end_ms: int, sample_rate_hz: int | None = None) -> Folded:
        """As `segment`, with what folding its channels has cost."""
        native = self.sample_rate_hz
        meter = FoldMeter(_samples(start_ms, native), _samples(end_ms, native))
        wave = self._segment(start_ms, end_ms, sample_rate_hz or native, meter)
        return Folded(wave, meter.level_db)

    def _segment(self, start_ms: int, end_ms: int, rate: int, meter: FoldMeter | None) -> Wave:
        if not 0 <= start_ms < end_ms:
            raise ValueError(f"a span starts at 0 ms or later and ends after its start, not {start_ms} to {end_ms}")
        first = _samples(start_ms, rate)
        last = first + _samples(end_ms - start_ms, rate)
        begin = _samples(start_ms, self.sample_rate_hz) - math.ceil(LEAD_S * self.sample_rate_hz)
        same = rate == self.sample_rate_hz
        wave = self._samples(first, last, begin, meter) if same else self._resampled(first, last, rate, begin, meter)
        if wave.size == 0 and self.declared_ms is not None and start_ms < self.declared_ms - 1000:
            raise DecodeError(
                "undecodable", f"nothing decodes at {start_ms} ms though the file declares {self.declared_ms} ms"
            )
        return wave

    def samples(self, first: int, last: int) -> Wave:
        """Mono samples [first, last) at the file's own rate; holes in the stream are silence."""
        return self._samples(first, last, first - math.ceil(PREROLL_S * self.sample_rate_hz), None)

    def read_span(self, start_ms: int, end_ms: int) -> None:
        """Read what `segment` reads of the file for this span, at any rate, when the file has just been opened."""
        begin = _samples(start_ms, self.sample_rate_hz) - math.ceil(LEAD_S * self.sample_rate_hz)
        until = _samples(end_ms, self.sample_rate_hz) + math.ceil(_READ_ON_S * self.sample_rate_hz)
        for position, _ in self._placed_frames(begin):
            if position >= until:
                break

    def _samples(self, first: int, last: int, begin: int, meter: FoldMeter | None) -> Wave:
        """Samples [first, last), decoded from `begin` on."""
        pieces: list[tuple[int, Wave]] = []
        for position, wave in self._waves(begin, first, last, meter):
            if position >= last:
                break
            if position + wave.size > first:
                pieces.append((position, wave))
            if position + wave.size >= last:
                break
        wave = _placed(pieces, first, last)
        finite = np.isfinite(wave)
        if not finite.all():
            self.not_finite += int(wave.size - np.count_nonzero(finite))
            wave[~finite] = 0.0
        return wave

    def close(self) -> None:
        self._reader.close()

    def __enter__(self) -> AudioSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _resampled(self, first: int, last: int, rate: int, begin: int, meter: FoldMeter | None) -> Wave:
        """Samples [first, last) at `rate`, on the grid that resampling the whole file would give."""
        native = self.sample_rate_hz
        step_out = rate // math.gcd(rate, native)  # the two rates' grids meet every so many samples
        step_in = native // math.gcd(rate, native)
        steps = max((first - math.ceil(RESAMPLE_CONTEXT_S * rate)) // step_out, 0)
        until = -(-last * native // rate) + math.ceil(RESAMPLE_CONTEXT_S * native)
        begin = min(begin, steps * step_in - math.ceil(PREROLL_S * native))
        wave = resample(self._samples(steps * step_in, until, begin, meter), native, rate)
        return wave[first - steps * step_out : last - steps * step_out]

    def _waves(self, begin: int, first: int, last: int, meter: FoldMeter | None) -> Iterator[tuple[int, Wave]]:
        """(position, mono wave) of what is decoded from `begin` on and ends behind `first`, until `last` is there.

        Frames that lie end to end are mixed together: one by one costs as much as decoding them.
        """
        for position, channels in in_runs(self._channels_from(begin), first, last):
            wave = channels.mix()
            if meter is not None:
                meter.hear(position, channels, wave)
            yield position, wave

    def _channels_from(self, begin: int) -> Iterator[tuple[int, Channels]]:
        for position, frame in self._placed_frames(begin):
            yield position, channels_of(frame)

    def _placed_frames(self, begin: int) -> Iterator[tuple[int, Any]]:
        """(position, frame) of every frame from `begin` or somewhat before it to the end."""
        before = self._clock.pts_before(begin)
        return placed(self._good_frames(self._frames(self._reader.starting_at(before))), self._clock)

    def _good_frames(self, frames: Iterator[Any | None]) -> Iterator[Any]:
        """`frames` without the packets that could not be decoded; DecodeError when those are most."""
        good = refused = 0
        for frame in frames:
            if frame is not None and frame.sample_rate == self.sample_rate_hz:
                good += 1
                yield frame
                continue
            refused += 1
            if refused > good + _REFUSED_AT_MOST:
                raise DecodeError("undecodable", "most of the packets there cannot be decoded")

    def _frames(self, packets: Iterator[Any]) -> Iterator[Any | None]:
        """Decoded frames of `packets`; None for a packet that the decoder refuses."""
        for packet in packets:
            try:
                yield from self._reader.decoder.decode(packet)
            except (FFmpegError, ValueError):
                yield None
        try:
            yield from self._reader.decoder.decode(None)
        except (FFmpegError, ValueError):
            yield None

    def _first_frames(self) -> list[Any]:
        """Some of the first frames that decode: they tell the rate, and how good the time stamps are."""
        frames: list[Any] = []
        refused = 0
        for frame in self._frames(self._reader.from_start()):
            if frame is None:
                refused += 1
            elif frame.pts is not None and frame.samples:
                frames.append(frame)
            if refused > _REFUSED_AT_MOST or len(frames) >= _FIRST_FRAMES:
                break
        return frames

    def _make_clock(self, frames: list[Any]) -> Clock:
        stream = self._reader.stream
        if not frames:
            if self.declared_ms == 0:
                raise DecodeError("empty_file", "the audio stream holds no samples")
            raise DecodeError("undecodable", "no packet of the audio stream can be decoded")
        rate = frames[0].sample_rate
        if rate > MAX_SAMPLE_RATE_HZ or self._channels > MAX_CHANNELS:
            raise DecodeError("undecodable", f"no sound of this world: {rate} Hz in {self._channels} channels")
        stamps = [Stamp(frame.pts, frame.samples) for frame in frames if frame.sample_rate == rate]
        start_s = _start_s(self._reader.container, stream, stamps[0].pts)
        return make_clock(rate, stream.time_base, start_s, stream.codec_context.codec.canonical_name, stamps)


def _start_s(container: Any, stream: Any, first_pts: int) -> Fraction:
    """The container's start time, in seconds; the first frame's own where that is what the container means.

    Before decoding, the container only guesses how much of the first frame is run-in: by the wrong rate where an
    Opus header tells of 16 kHz input.
    """
    if container.start_time is None:
        return Fraction(0)
    start_s = Fraction(container.start_time, 1_000_000)
    first_s: Fraction = first_pts * stream.time_base
    audio_is_first = stream.start_time is not None and abs(stream.start_time * stream.time_base - start_s) < _NEAR_S
    return first_s if audio_is_first and abs(first_s - start_s) < 50 * _NEAR_S else start_s


def _samples(duration_ms: int, rate: int) -> int:
    return (duration_ms * rate + 500) // 1000


def _placed(pieces: list[tuple[int, Wave]], first: int, last: int) -> Wave:
    """The pieces at their places in [first, last), cut off after the last sample there is."""
    end = max((min(position + wave.size, last) for position, wave in pieces), default=first)
    out = np.zeros(end - first, dtype=np.float32)
    for position, wave in pieces:
        skip = max(first - position, 0)
        part = wave[skip : end - position]
        out[position + skip - first : position + skip - first + part.size] = part
    return out


def _duration_ms(container: Any, stream: Any, *, estimates: bool = True) -> int | None:
    seconds: Any = None
    if stream is not None and stream.duration is not None:
        seconds = stream.duration * stream.time_base
    elif estimates and container.duration is not None:
        seconds = Fraction(container.duration, 1_000_000)
    return round(seconds * 1000) if seconds is not None and seconds >= 0 else None
