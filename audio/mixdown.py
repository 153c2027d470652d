"""One decoded frame to mono float32 in [-1, 1], whatever the sample format and the speaker layout.

Surround is mixed as a stereo listener would hear it (ITU-R BS.775: centre and sides in, low-frequency effects out),
then the two ears are averaged. Weights add up to one, so nothing can clip that did not clip before.
"""

from __future__ import annotations

from functools import cache
from typing import Any

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

#: Integer sample formats: full scale and the value of silence.
_INTEGER = {
    np.dtype(np.uint8): (128.0, 128.0),
    np.dtype(np.int16): (32768.0, 0.0),
    np.dtype(np.int32): (2147483648.0, 0.0),
    np.dtype(np.int64): (9223372036854775808.0, 0.0),
}


def mono(frame: Any) -> Wave:
    """The frame's samples as one mono wave."""
    samples = frame.to_ndarray()
    names = tuple(channel.name for channel in frame.layout.channels)
    if not frame.format.is_planar:
        samples = samples.reshape(-1, len(names)).T
    full_scale, silence = _INTEGER.get(samples.dtype, (1.0, 0.0))
    weights = speaker_weights(names)
    wave = samples[0].astype(np.float32) if len(names) == 1 else weights @ samples.astype(np.float32)
    if full_scale != 1.0:
        wave = (wave - np.float32(silence)) / np.float32(full_scale)
    return np.asarray(wave, dtype=np.float32)


@cache
def speaker_weights(names: tuple[str, ...]) -> Wave:
    """The share of each speaker in the mono mix; a plain average where a speaker is not known."""
    if len(names) < 3 or not all(name in _SPEAKER for name in names):
        return np.full(len(names), 1.0 / len(names), dtype=np.float32)
    weights = np.array([_SPEAKER[name] for name in names])
    total = weights.sum()
    return (weights / total if total else np.full(len(names), 1.0 / len(names))).astype(np.float32)
