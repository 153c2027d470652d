"""Measure every clip: how loud, how silent, how clipped, how wide; and end those that are beyond a limit.

- use: measure
  max_silence_ratio: 0.9      # optional: share of 20 ms frames under -60 dBFS
  max_clipping_ratio: 0.05    # optional: share of samples stuck at full scale
  min_bandwidth_hz: 6000      # optional: where the content ends

Each limit has a reason of its own (docs/filters.md). The columns are there either way: a limit that is left out here
can be set by `select --where` later, and changed without measuring again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import pyarrow as pa
from annotated_types import Ge, Gt, Le

from corpus.schema import fields
from stages.base import Ending, Needs, Services, with_columns, with_endings

if TYPE_CHECKING:
    from audio.measure import Measures


@dataclass(kw_only=True)
class Measure:
    """Limits are None by default: measure, end nothing. A clip at the limit stays; the first limit it breaks is named.

    `max_missing_ratio`: share of the planned span that the source had no samples for.
    """

    max_missing_ratio: Annotated[float, Ge(0), Le(1)] | None = None
    min_duration_s: Annotated[float, Gt(0)] | None = None
    max_silence_ratio: Annotated[float, Ge(0), Le(1)] | None = None
    min_rms_dbfs: Annotated[float, Le(0)] | None = None
    max_clipping_ratio: Annotated[float, Ge(0), Le(1)] | None = None
    max_dc_offset: Annotated[float, Ge(0), Le(1)] | None = None
    min_mono_fold_db: Annotated[float, Le(0)] | None = None
    min_bandwidth_hz: Annotated[int, Gt(0)] | None = None

    adds: ClassVar[pa.Schema] = fields(
        "peak_dbfs", "rms_dbfs", "silence_ratio", "clipping_ratio", "dc_offset", "bandwidth_hz"
    )

    @property
    def reads(self) -> tuple[str, ...]:
        """The fold's level only where there is a limit to it: a recipe may cut its clips by another stage."""
        always = ("audio", "start_ms", "end_ms")
        return always if self.min_mono_fold_db is None else (*always, "mono_fold_db")

    def needs(self) -> Needs:
        return Needs(cpus=1.0)

    def open(self, services: Services) -> None:
        """Nothing to prepare."""

    def run(self, clips: pa.Table) -> pa.Table:
        measured = [_measured(audio) for audio in clips.column("audio")]
        columns = {
            name: [None if isinstance(found, Ending) else getattr(found.measures, name) for found in measured]
            for name in self.adds.names
        }
        rows = clips.select([name for name in self.reads if name != "audio"]).to_pylist()
        endings = [
            found
            if isinstance(found, Ending)
            else self._judge_length(found.duration_s, (row["end_ms"] - row["start_ms"]) / 1000)
            or self._judge_sound(found.measures, row.get("mono_fold_db"))
            for found, row in zip(measured, rows, strict=True)
        ]
        return with_endings(with_columns(clips, columns, self.adds), endings)

    def _judge_length(self, duration_s: float, planned_s: float) -> Ending | None:
        if self.max_missing_ratio is not None and duration_s < (1 - self.max_missing_ratio) * planned_s - TOLERANCE_S:
            return Ending("filtered", "cut_short", f"{duration_s:.2f} of {planned_s:.2f} s are there")
        if self.min_duration_s is not None and duration_s < self.min_duration_s - TOLERANCE_S:
            return Ending("filtered", "too_short", f"it lasts {duration_s:.2f} s")
        return None

    def _judge_sound(self, found: Measures, mono_fold_db: float | None) -> Ending | None:
        if self.max_silence_ratio is not None and found.silence_ratio > self.max_silence_ratio:
            return Ending("filtered", "silent", f"{found.silence_ratio:.0%} of it is silent")
        if self.min_rms_dbfs is not None and found.rms_dbfs < self.min_rms_dbfs:
            return Ending("filtered", "too_quiet", f"its level is {found.rms_dbfs:.1f} dBFS")
        if self.max_clipping_ratio is not None and found.clipping_ratio > self.max_clipping_ratio:
            return Ending("filtered", "clipped", f"{found.clipping_ratio:.1%} of its samples are clipped")
        if self.max_dc_offset is not None and abs(found.dc_offset) > self.max_dc_offset:
            return Ending("filtered", "dc_offset", f"its mean sample is {found.dc_offset:+.4f} of full scale")
        if self.min_mono_fold_db is not None and mono_fold_db is not None and mono_fold_db < self.min_mono_fold_db:
            return Ending("filtered", "mono_cancelled", f"its channels cancel: {mono_fold_db:.1f} dB are left")
        if self.min_bandwidth_hz is not None and found.bandwidth_hz < self.min_bandwidth_hz:
            return Ending("filtered", "narrow_band", f"its content ends at {found.bandwidth_hz} Hz")
        return None

    def close(self) -> None:
        """Nothing to give back."""


#: Spans are in milliseconds, sound is in samples: a clip is not short for the rounding.
TOLERANCE_S = 0.001


@dataclass(frozen=True)
class _Measured:
    measures: Measures
    duration_s: float


def _measured(audio: pa.LargeBinaryScalar) -> _Measured | Ending:
    from audio.codec import decode_bytes
    from audio.faults import DecodeError
    from audio.measure import measure

    try:
        wave, sample_rate_hz = decode_bytes(audio.as_py() or b"")
    except DecodeError as error:
        return Ending("failed", error.reason, str(error))
    return _Measured(measure(wave, sample_rate_hz), wave.size / sample_rate_hz)
