"""One decoded frame to mono float32 in [-1, 1], whatever the sample format and the speaker layout.

Surround is mixed as a stereo listener would hear it (ITU-R BS.775: centre and sides in, low-frequency effects out),
then the two ears are averaged. Weights add up to one, so nothing can clip that did not clip before.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Wave = npt.NDArray[np.float32]

_FRONT, _SIDE, _NONE = np.sqrt(0.5), 0.5, 0.0
#: What one speaker adds to the two ears together, before normalising.
_SPEAKER = {
    "FL": _FRONT,
    "FR": _FRONT,
    "FC": 1.0,
    "FLC": _FRONT,
    "FRC": _FRONT,
    "SL": _SIDE,
    "SR": _SIDE,
    "BL": _SIDE,
    "BR": _SIDE,
    "BC": _SIDE,
    "LFE": _NONE,
    "LFE2": _NONE,
}

#: Frames that are mixed together at most: half a second or so.
RUN = 32

_STEREO = np.array([0.5, 0.5], dtype=np.float32)

#: Sample format -> its type, full scale, and the value of silence.
_FORMATS: dict[str, tuple[type[np.generic], float, float]] = {
    "u8": (np.uint8, 128.0, 128.0),
    "s16": (np.int16, 32768.0, 0.0),
    "s32": (np.int32, 2147483648.0, 0.0),
    "s64": (np.int64, 9223372036854775808.0, 0.0),
    "flt": (np.float32, 1.0, 0.0),
    "dbl": (np.float64, 1.0, 0.0),
}


class Channels(NamedTuple):
    """A frame's samples before they are mixed: a view of each channel, its weight in the mix, and what the values mean.

    (The library's own `to_ndarray` costs a copy and twice the time.)
    """

    samples: list[Any]
    weights: Wave
    full_scale: float
    silence: float

    def mix(self) -> Wave:
        """One mono wave of its own memory."""
        wave: Wave = self.samples[0] * self.weights[0]
        for channel, weight in zip(self.samples[1:], self.weights[1:], strict=True):
            wave += channel * weight
        mixed: Wave = self._scaled(wave).astype(np.float32, copy=False)
        return mixed

    def energy(self, start: int, end: int) -> float:
        """Sum of squares of the samples [start, end) of all channels, weighted as in the mix."""
        total = 0.0
        for channel, weight in zip(self.samples, self.weights.tolist(), strict=True):
            total += weight * power_sum(self._scaled(channel[start:end].astype(np.float32, copy=False)))
        return total

    def _scaled(self, values: Any) -> Any:
        if self.full_scale == 1.0:
            return values
        return (values - np.float32(self.silence)) / np.float32(self.full_scale)

    @property
    def size(self) -> int:
        return int(self.samples[0].size)

    def is_like(self, other: Channels) -> bool:
        """Whether the two can be joined: the same layout and meaning of values."""
        return (
            self.weights is other.weights
            and self.samples[0].dtype == other.samples[0].dtype
            and (self.full_scale, self.silence) == (other.full_scale, other.silence)
        )


def power_sum(values: Wave) -> float:
    """Sum of squares in double precision. Not `np.dot`: BLAS wakes threads of its own for a vector of this length."""
    wide = values.astype(np.float64)
    return float(np.sum(np.multiply(wide, wide, out=wide)))


def in_runs(frames: Iterator[tuple[int, Channels]], first: int, last: int) -> Iterator[tuple[int, Channels]]:
    """Frames that lie end to end and are alike as one, up to RUN of them, ending behind `first`.

    No frame is asked for once those that came reach `last`.
    """
    run: list[Channels] = []
    start = after = 0
    for position, channels in frames:
        if position + channels.size <= first and position < last:
            continue
        if run and (position != after or len(run) == RUN or not run[0].is_like(channels)):
            yield start, _joined(run)
            run = []
        if not run:
            start = position
        run.append(channels)
        after = position + channels.size
        if after >= last:
            yield start, _joined(run)
            run = []
    if run:
        yield start, _joined(run)


def _joined(run: list[Channels]) -> Channels:
    if len(run) == 1:
        return run[0]
    samples = [np.concatenate(parts) for parts in zip(*(channels.samples for channels in run), strict=True)]
    return run[0]._replace(samples=samples)


def mono(frame: Any) -> Wave:
    """The frame's samples as one mono wave of its own memory."""
    return channels_of(frame).mix()


def channels_of(frame: Any) -> Channels:
    kind, full_scale, silence = _FORMATS[frame.format.name.removesuffix("p")]
    count = frame.samples
    if frame.format.is_planar:
        views = [np.frombuffer(plane, kind, count) for plane in frame.planes]
    else:
        channels = frame.layout.nb_channels
        views = list(np.frombuffer(frame.planes[0], kind, count * channels).reshape(count, channels).T)
    return Channels(views, _weights(frame, len(views)), full_scale, silence)


def _weights(frame: Any, count: int) -> Wave:
    if count == 2:
        return _STEREO
    names = tuple(channel.name for channel in frame.layout.channels)
    return speaker_weights(names if len(names) == count else ("?",) * count)


@cache
def speaker_weights(names: tuple[str, ...]) -> Wave:
    """The share of each speaker in the mono mix; a plain average where a speaker is not known."""
    if len(names) < 3 or not all(name in _SPEAKER for name in names):
        return np.full(len(names), 1.0 / len(names), dtype=np.float32)
    weights = np.array([_SPEAKER[name] for name in names])
    total = weights.sum()
    return (weights / total if total else np.full(len(names), 1.0 / len(names))).astype(np.float32)
