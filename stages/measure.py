"""Measure every clip: how loud, how silent, how clipped; and end those that are beyond a limit.

- use: measure
  max_silence_ratio: 0.9      # optional: share of 20 ms frames under -60 dBFS
  max_clipping_ratio: 0.05    # optional: share of samples stuck at full scale
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import pyarrow as pa
from annotated_types import Ge, Le

from corpus.schema import fields
from stages.base import Ending, Needs, Services, with_columns, with_endings

if TYPE_CHECKING:
    from audio.measure import Measures


@dataclass(kw_only=True)
class Measure:
    """Limits are None by default: measure, end nothing. A clip at the limit stays."""

    max_silence_ratio: Annotated[float, Ge(0), Le(1)] | None = None
    max_clipping_ratio: Annotated[float, Ge(0), Le(1)] | None = None

    reads: ClassVar[tuple[str, ...]] = ("audio",)
    adds: ClassVar[pa.Schema] = fields("peak_dbfs", "rms_dbfs", "silence_ratio", "clipping_ratio")

    def needs(self) -> Needs:
        return Needs(cpus=1.0)

    def open(self, services: Services) -> None:
        """Nothing to prepare."""

    def run(self, clips: pa.Table) -> pa.Table:
        measured = [_measured(audio) for audio in clips.column("audio")]
        columns = {
            name: [None if isinstance(found, Ending) else getattr(found, name) for found in measured]
            for name in self.adds.names
        }
        clips = with_columns(clips, columns, self.adds)
        return with_endings(clips, [found if isinstance(found, Ending) else self._judge(found) for found in measured])

    def _judge(self, found: Measures) -> Ending | None:
        if self.max_silence_ratio is not None and found.silence_ratio > self.max_silence_ratio:
            return Ending("filtered", "silent", f"{found.silence_ratio:.0%} of it is silent")
        if self.max_clipping_ratio is not None and found.clipping_ratio > self.max_clipping_ratio:
            return Ending("filtered", "clipped", f"{found.clipping_ratio:.1%} of its samples are clipped")
        return None

    def close(self) -> None:
        """Nothing to give back."""


def _measured(audio: pa.LargeBinaryScalar) -> Measures | Ending:
    from audio.codec import decode_bytes
    from audio.faults import DecodeError
    from audio.measure import measure

    try:
        wave, sample_rate_hz = decode_bytes(audio.as_py() or b"")
    except DecodeError as error:
        return Ending("failed", error.reason, str(error))
    return measure(wave, sample_rate_hz)
