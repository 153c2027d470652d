"""What a sample of a shard holds: a record with captions, and one encoded sound. Nothing is decoded here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from training.shards import Sample


class Unusable(Exception):
    """A sample that cannot be learned from; `reason` is a short word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def record_of(sample: Sample) -> Mapping[str, Any]:
    try:
        record = json.loads(sample["json"])
    except (KeyError, ValueError, RecursionError):
        raise Unusable("no_record") from None
    if not isinstance(record, dict):
        raise Unusable("no_record")
    return record


def captions_in(record: Mapping[str, Any]) -> tuple[str, ...]:
    """`text` is one string, or a list where a clip has several captions. Half of a character becomes "?": JSON can hold
    it, no tokenizer takes it."""
    told = record.get("text")
    many = told if isinstance(told, list) else [told]
    whole = (text.encode("utf-8", "replace").decode().strip() for text in many if isinstance(text, str))
    return tuple(text for text in whole if text)


def sound_of(sample: Sample) -> bytes:
    """The encoded sound: the sample's one member that is no text. Unusable."""
    names = [name for name in sample if not name.startswith("__") and name not in ("json", "txt")]
    if len(names) != 1:
        raise Unusable("no_sound" if not names else "several_sounds")
    return bytes(sample[names[0]])
