"""All that the corpus knows of a few clips, read from their units: for lists that a person looks at.

    read_clips(store, ["fetch", "models"], [("00000-00003", "x17_0_10000")])

A joined clip's span ends where its last member's does, and its audio is that of all members, in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from corpus import attempts
from corpus.store import Store


@dataclass(frozen=True)
class AudioPlace:
    """Where one member's encoded audio lies."""

    tar: str
    offset: int
    size: int


@dataclass(frozen=True)
class Clip:
    """A clip and what strangers and models say of it: show texts with pipeline/shown.py only."""

    clip_id: str
    unit_id: str
    source_id: str
    start_ms: int
    end_ms: int
    outcome: str | None
    reason: str | None
    title: str | None
    url: str | None
    caption: str | None
    clap_score: float | None
    clap_model: str | None
    audio: tuple[AudioPlace, ...]


def read_clips(store: Store, legs: Sequence[str], places: Sequence[tuple[str, str]]) -> list[Clip]:
    """The clips at (unit_id, clip_id), in the order given; root leg first in `legs`, a later leg's word is the last."""
    by_unit = {unit_id: _unit_rows(store, legs, unit_id) for unit_id in sorted({unit_id for unit_id, _ in places})}
    return [_clip(by_unit[unit_id], clip_id) for unit_id, clip_id in places]


def _unit_rows(store: Store, legs: Sequence[str], unit_id: str) -> dict[str, dict[str, Any]]:
    """clip_id -> all plain columns of the clip, in the unit's order."""
    rows: dict[str, dict[str, Any]] = {}
    for leg in legs:
        is_root = leg == legs[0]
        known = attempts.attempts_of(store, leg, unit_id, root=is_root)
        if not known and not is_root:
            continue
        table = attempts.read_latest(store, leg, unit_id, root=is_root, attempts=known or [0])
        plain = [typed.name for typed in table.schema if not pa.types.is_nested(typed.type)]
        for row in table.select(plain).to_pylist():
            rows.setdefault(row["clip_id"], {}).update(row)
    return rows


def _clip(rows: dict[str, dict[str, Any]], clip_id: str) -> Clip:
    row = rows[clip_id]
    members = [row]
    if row.get("joined_end_ms") is not None:
        members += [other for other in rows.values() if other.get("merged_into") == clip_id]
    return Clip(
        clip_id=clip_id,
        unit_id=row["unit_id"],
        source_id=row["source_id"],
        start_ms=row["start_ms"],
        end_ms=row["end_ms"] if row.get("joined_end_ms") is None else row["joined_end_ms"],
        outcome=row.get("outcome"),
        reason=row.get("reason"),
        title=row.get("title"),
        url=row.get("url"),
        caption=row.get("caption"),
        clap_score=row.get("clap_score"),
        clap_model=row.get("clap_model"),
        audio=tuple(
            AudioPlace(member["tar"], member["tar_offset"], member["tar_size"])
            for member in members
            if member.get("tar") is not None
        ),
    )
