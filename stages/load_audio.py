"""Read the clips' committed audio from the corpus into the leg that captions and scores them.

    - use: load_audio

The unit's tar is read once, in ranges that lie together (corpus/units.py). A member that cannot be read ends
its clip as `failed / audio_missing`: the corpus is damaged there, and `autorecap verify` says where.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from corpus.schema import fields
from stages.base import Ending, Needs, Services, with_columns, with_endings


@dataclass(kw_only=True)
class LoadAudio:
    """Adds `audio` (FLAC bytes) to every live clip."""

    reads: ClassVar[tuple[str, ...]] = ("tar", "tar_member", "tar_offset", "tar_size")
    adds: ClassVar[pa.Schema] = fields("audio")

    def needs(self) -> Needs:
        return Needs(cpus=1.0)

    def open(self, services: Services) -> None:
        from corpus.store import Store

        self._store = Store(services.run_root)

    def run(self, clips: pa.Table) -> pa.Table:
        from corpus.units import read_audios

        audios = read_audios(self._store, clips)
        lost = Ending("failed", "audio_missing", "its tar member cannot be read; run autorecap verify")
        clips = with_columns(clips, {"audio": audios}, self.adds)
        return with_endings(clips, [None if audio is not None else lost for audio in audios])

    def close(self) -> None:
        """Nothing to give back."""
