"""Take each clip's fingerprint, so that copies of it can be found later without its audio (see the dedup job).

- use: fingerprint
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from corpus.schema import fields
from stages.base import Ending, Needs, Services, with_columns, with_endings


@dataclass(kw_only=True)
class FingerprintStage:
    """Adds `fingerprint`, about 1 kB for 10 s. A clip too short for one has one without words."""

    reads: ClassVar[tuple[str, ...]] = ("audio",)
    adds: ClassVar[pa.Schema] = fields("fingerprint")

    def needs(self) -> Needs:
        return Needs(cpus=1.0)

    def open(self, services: Services) -> None:
        """Nothing to prepare."""

    def run(self, clips: pa.Table) -> pa.Table:
        taken = [_taken(audio) for audio in clips.column("audio")]
        prints = [None if isinstance(found, Ending) else found for found in taken]
        clips = with_columns(clips, {"fingerprint": prints}, self.adds)
        return with_endings(clips, [found if isinstance(found, Ending) else None for found in taken])

    def close(self) -> None:
        """Nothing to give back."""


def _taken(audio: pa.LargeBinaryScalar) -> bytes | Ending:
    from audio.codec import decode_bytes
    from audio.faults import DecodeError
    from audio.fingerprint import fingerprint
    from corpus.fingerprints import pack

    try:
        wave, sample_rate_hz = decode_bytes(audio.as_py() or b"")
    except DecodeError as error:
        return Ending("failed", error.reason, str(error))
    found = fingerprint(wave, sample_rate_hz)
    return pack(found.words, found.keys, found.places)
