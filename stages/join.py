"""Join neighbours that were captioned alike: the only way a clip gets longer than the cap (curation step 6).

    t ──► |── clip A ──|── clip B ──|          |── clip C ──|
          "rain falls"  "rain falls"            "rain falls"
    A keeps its id, joined_end_ms = B's end; B ends as merged, merged_into = A. C does not abut: it stays alone.

Only live clips of one source in one unit are looked at, so a unit's result never depends on another unit.
The joined clip's audio is its members' samples in order (the exporter puts them together); its CLAP embedding,
where there is one, the normalised mean of the members'.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from corpus.schema import SCORE, fields
from stages.base import Ending, Needs, Services, with_columns, with_endings


@dataclass(kw_only=True)
class Join:
    """`max_joined_s`: no join grows past this, in seconds; None = no limit, as in the paper."""

    max_joined_s: float | None = None

    reads: ClassVar[tuple[str, ...]] = ("source_id", "start_ms", "end_ms", "caption")
    adds: ClassVar[pa.Schema] = fields("merged_into", "joined_end_ms")
    changes: ClassVar[tuple[str, ...]] = ("clap_audio_embedding",)

    def needs(self) -> Needs:
        return Needs(cpus=1.0)

    def open(self, services: Services) -> None:
        """Nothing to prepare."""

    def run(self, clips: pa.Table) -> pa.Table:
        rows = clips.select(["clip_id", "source_id", "start_ms", "end_ms", "caption"]).to_pylist()
        runs = self._runs(rows)
        merged_into: list[str | None] = [None] * len(rows)
        joined_end_ms: list[int | None] = [None] * len(rows)
        endings: list[Ending | None] = [None] * len(rows)
        for first, last in runs:
            joined_end_ms[first] = rows[last]["end_ms"]
            for at in range(first + 1, last + 1):
                merged_into[at] = rows[first]["clip_id"]
                endings[at] = Ending("merged", "joined", f"its audio is part of {rows[first]['clip_id']}")
        clips = _join_embeddings(clips, runs)
        clips = with_columns(clips, {"merged_into": merged_into, "joined_end_ms": joined_end_ms}, self.adds)
        return with_endings(clips, endings)

    def _runs(self, rows: list[dict[str, Any]]) -> list[tuple[int, int]]:
        """(first, last) row of every run of two or more clips to be joined."""
        runs = []
        first = 0
        for at in range(1, len(rows) + 1):
            if at < len(rows) and self._continues(rows[first], rows[at - 1], rows[at]):
                continue
            if at - first > 1:
                runs.append((first, at - 1))
            first = at
        return runs

    def _continues(self, first: dict[str, Any], before: dict[str, Any], here: dict[str, Any]) -> bool:
        if self.max_joined_s is not None and here["end_ms"] - first["start_ms"] > self.max_joined_s * 1000:
            return False
        return bool(
            here["source_id"] == before["source_id"]
            and here["start_ms"] == before["end_ms"]
            and here["caption"]
            and here["caption"] == before["caption"]
        )

    def close(self) -> None:
        """Nothing to give back."""


def _join_embeddings(clips: pa.Table, runs: list[tuple[int, int]]) -> pa.Table:
    """The first member of each run gets the normalised mean of the run's unit-norm embeddings."""
    if not runs or "clap_audio_embedding" not in clips.column_names:
        return clips
    embeddings = clips.column("clap_audio_embedding").to_pylist()
    for first, last in runs:
        members = [embeddings[at] for at in range(first, last + 1)]
        if any(member is None for member in members):
            continue
        mean = np.mean(np.asarray(members, dtype=np.float32), axis=0)
        embeddings[first] = (mean / max(float(np.linalg.norm(mean)), 1e-12)).astype(np.float32)
    return with_columns(clips, {"clap_audio_embedding": embeddings}, SCORE)
