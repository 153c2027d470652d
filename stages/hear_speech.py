"""Hear how much of a clip is speech, whatever its transcript said; and end clips with too much of it.

- use: hear_speech
  max_speech_ratio: 0.3    # optional
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import pyarrow as pa
from annotated_types import Ge, Le

from corpus.schema import fields
from stages.base import Ending, Needs, Services, with_columns, with_endings


@dataclass(kw_only=True)
class HearSpeech:
    """`max_speech_ratio`: None (the default) measures only. A clip at the limit stays."""

    max_speech_ratio: Annotated[float, Ge(0), Le(1)] | None = None

    reads: ClassVar[tuple[str, ...]] = ("audio",)
    adds: ClassVar[pa.Schema] = fields("speech_ratio")

    def needs(self) -> Needs:
        return Needs(cpus=1.0)

    def open(self, services: Services) -> None:
        from audio.speech import SpeechDetector

        self._detector = SpeechDetector(threads=services.threads)

    def run(self, clips: pa.Table) -> pa.Table:
        heard = [self._hear(audio.as_py() or b"") for audio in clips.column("audio")]
        ratios = [None if isinstance(found, Ending) else found for found in heard]
        clips = with_columns(clips, {"speech_ratio": ratios}, self.adds)
        return with_endings(clips, [found if isinstance(found, Ending) else self._judge(found) for found in heard])

    def _hear(self, audio: bytes) -> float | Ending:
        from audio.codec import decode_bytes
        from audio.faults import DecodeError
        from audio.resample import resample
        from audio.speech import SAMPLE_RATE_HZ

        try:
            wave, sample_rate_hz = decode_bytes(audio)
        except DecodeError as error:
            return Ending("failed", error.reason, str(error))
        return self._detector.speech_ratio(resample(wave, sample_rate_hz, SAMPLE_RATE_HZ))

    def _judge(self, speech_ratio: float) -> Ending | None:
        if self.max_speech_ratio is not None and speech_ratio > self.max_speech_ratio:
            return Ending("filtered", "speech_heard", f"{speech_ratio:.0%} of it is speech")
        return None

    def close(self) -> None:
        """Nothing to give back."""
