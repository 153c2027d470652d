"""How much of a sound is left when its channels are folded into one: heard where the channels still are.

    meter = FoldMeter(first, last)          # of the samples [first, last) of the source's time line
    meter.hear(position, channels, wave)    # of each decoded frame, and the mono wave made of them
    meter.level_db                          # 0.0 for identical channels, -3.01 for unrelated ones

A corpus of mono clips made from stereo sources holds some that are mostly missing: wide mixes, a channel wired the
wrong way round. Once folded that cannot be seen any more. The level is the fold's power against the mean power of the
channels, each weighted as in the fold (audio/mixdown.py): by Cauchy and Schwarz it is never above 0 dB.
"""

from __future__ import annotations

import math

from audio.mixdown import Channels, Wave, power_sum

#: What a complete cancellation measures, as the floor of levels in audio/measure.py.
FLOOR_DB = -120.0


class FoldMeter:
    """Adds up powers over one span. Frames of a single channel have nothing to fold and do not count."""

    def __init__(self, first: int, last: int) -> None:
        self._first = first
        self._last = last
        self._folded = 0.0
        self._apart = 0.0

    def hear(self, position: int, channels: Channels, wave: Wave) -> None:
        """Count what lies in the span of a frame at `position`; `wave` is its mono mix."""
        start, end = max(self._first - position, 0), min(self._last - position, wave.size)
        if start < end and len(channels.samples) > 1:
            self._folded += power_sum(wave[start:end])
            self._apart += channels.energy(start, end)

    @property
    def level_db(self) -> float | None:
        """None for a mono source, for silence, and where a float codec carried something that is no number."""
        if not 0 < self._apart < math.inf or not math.isfinite(self._folded):
            return None
        share = self._folded / self._apart
        return min(max(10 * math.log10(share), FLOOR_DB), 0.0) if share > 0 else FLOOR_DB
