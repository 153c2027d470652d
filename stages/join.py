"""Join neighbours that sound alike: the only way a clip gets longer than the cap (curation step 6).

    t ──► |── clip A ──|── clip B ──|          |── clip C ──|
          "rain falls"  "rain falls"            "rain falls"
    A keeps its id, joined_end_ms = B's end; B ends as merged, merged_into = A. C does not abut: it stays alone.

Alike is what `by` says: `caption`, the very same caption (the paper, and the default); `embedding`, CLAP embeddings
whose cosine is at least `min_similarity`; `either` or `both` of these. Each neighbour is held against the first clip
of the join, not against the one before it: a sound that drifts slowly ends the join. By embedding alone, `join` may
stand before `caption`, which then has one clip to caption instead of many.

The joined clip's row is its first clip's: its caption too, where captions differ. (The likeliest caption would be the
alternative, but likelihood favours short and general ones, and a row's caption should be of its own audio.)
Only live clips of one source in one unit are looked at, so a unit's result never depends on another unit. A retry
joins nothing: its clips come back one by one, whatever their neighbours had become in the meantime.
The joined clip's audio is its members' samples in order (the exporter puts them together); its CLAP embedding,
where there is one, the normalised mean of the members'.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from annotated_types import Ge, Gt, Le

from corpus.schema import SCORE, fields
from stages.base import Ending, Needs, Services, with_columns, with_endings


@dataclass(kw_only=True)
class Join:
    """`max_joined_s`: no join grows past this, in seconds; None = no limit, as in the paper.

    `min_similarity`: a cosine, of the recipe's CLAP; every way but `caption` needs it.
    """

    by: Literal["caption", "embedding", "either", "both"] = "caption"
    min_similarity: Annotated[float, Ge(-1), Le(1)] | None = None
    max_joined_s: Annotated[float, Gt(0)] | None = None

    adds: ClassVar[pa.Schema] = fields("merged_into", "joined_end_ms")
    changes: ClassVar[tuple[str, ...]] = ("clap_audio_embedding",)

    def __post_init__(self) -> None:
        if self.by != "caption" and self.min_similarity is None:
            raise ValueError(
                f"by: {self.by} needs min_similarity, the least cosine of two clips to be joined, e.g. 0.95"
            )
        if self.by == "caption" and self.min_similarity is not None:
            raise ValueError("min_similarity does nothing with by: caption; write by: embedding, either or both")

    @property
    def reads(self) -> tuple[str, ...]:
        captions = () if self.by == "embedding" else ("caption",)
        embeddings = () if self.by == "caption" else ("clap_audio_embedding",)
        return ("source_id", "start_ms", "end_ms", *captions, *embeddings)

    def needs(self) -> Needs:
        return Needs(cpus=1.0)

    def open(self, services: Services) -> None:
        """Nothing to prepare."""

    def run(self, clips: pa.Table) -> pa.Table:
        rows = clips.select(["clip_id", *(name for name in self.reads if name != "clap_audio_embedding")]).to_pylist()
        again = "attempt" in clips.column_names and pc.any(pc.greater(clips.column("attempt"), 0)).as_py()
        runs = [] if again else self._runs(rows, None if self.by == "caption" else _unit_vectors(clips))
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

    def _runs(self, rows: list[dict[str, Any]], heard: list[_Vector | None] | None) -> list[tuple[int, int]]:
        """(first, last) row of every run of two or more clips to be joined; `heard` is needed but by caption."""
        runs = []
        first = 0
        for at in range(1, len(rows) + 1):
            if (
                at < len(rows)
                and self._abut(rows[first], rows[at - 1], rows[at])
                and self._alike(rows[first], rows[at], _cosine(heard[first], heard[at]) if heard else None)
            ):
                continue
            if at - first > 1:
                runs.append((first, at - 1))
            first = at
        return runs

    def _abut(self, first: dict[str, Any], before: dict[str, Any], here: dict[str, Any]) -> bool:
        if self.max_joined_s is not None and here["end_ms"] - first["start_ms"] > self.max_joined_s * 1000:
            return False
        return bool(here["source_id"] == before["source_id"] and here["start_ms"] == before["end_ms"])

    def _alike(self, first: dict[str, Any], here: dict[str, Any], cosine: float | None) -> bool:
        said = bool(here.get("caption")) and here["caption"] == first["caption"]
        if self.min_similarity is None:
            return said
        heard = cosine is not None and cosine >= self.min_similarity
        if self.by == "both":
            return said and heard
        return heard or (self.by == "either" and said)

    def close(self) -> None:
        """Nothing to give back."""


_Vector = npt.NDArray[np.float32]


def _unit_vectors(clips: pa.Table) -> list[_Vector | None]:
    """Each row's embedding at length one; None where it has none, or one that points nowhere."""
    vectors: list[_Vector | None] = []
    for value in clips.column("clap_audio_embedding").to_pylist():
        vector = np.asarray(value or [], dtype=np.float32)
        length = float(np.linalg.norm(vector))
        vectors.append(vector / np.float32(length) if length > 0 else None)
    return vectors


def _cosine(one: _Vector | None, other: _Vector | None) -> float | None:
    return None if one is None or other is None or one.size != other.size else float(np.dot(one, other))


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
