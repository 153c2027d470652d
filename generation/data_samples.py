"""What both kinds of training data share: what a clip's record says, which clips are passed over, and the batch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from generation.data_recipe import Filters
from training.samples import Unusable, captions_in, record_of
from training.shards import Sample


@dataclass(kw_only=True)
class Clips:
    """The clips of a batch, in order: what is known of each beside what the net is given."""

    keys: list[str]
    captions: list[str]
    datasets: list[str | None]

    def __len__(self) -> int:
        return len(self.keys)


class Kind(Protocol):
    """One kind of training data: its samples as clips, clips as a batch. What a clip is, is its own affair."""

    def clip(self, sample: Sample, dataset: str | None, rng: np.random.Generator | None) -> Any:
        """One clip; without `rng` nothing is left to chance. Unusable says why it cannot be one."""
        ...

    def batch(self, clips: Sequence[Any], rng: np.random.Generator | None) -> Clips: ...


@dataclass(frozen=True)
class Told:
    """What a clip's record says of it."""

    captions: tuple[str, ...]
    dataset: str | None
    clap_score: float | None
    duration_s: float | None


def told_of(sample: Sample) -> Told:
    """Unusable where the record is none."""
    record = record_of(sample)
    dataset = record.get("dataset")
    return Told(
        captions=captions_in(record),
        dataset=dataset if isinstance(dataset, str) and dataset else None,
        clap_score=_number(record, "clap_score"),
        duration_s=_number(record, "duration_s"),
    )


def check_record(told: Told, filters: Filters) -> tuple[str, ...]:
    """The captions that may be learned; Unusable where the record alone says that the clip is not wanted."""
    if not told.captions:
        raise Unusable("no_caption")
    captions = tuple(text for text in told.captions if len(text) <= filters.max_caption_chars)
    if not captions:
        raise Unusable("caption_too_long")
    if filters.clap_min is not None:
        if told.clap_score is None:
            raise Unusable("no_clap_score")
        if told.clap_score < filters.clap_min:
            raise Unusable("clap_below_min")
    if told.duration_s is not None:
        check_duration(told.duration_s, filters)
    return captions


def check_duration(duration_s: float, filters: Filters) -> None:
    if duration_s < filters.min_s:
        raise Unusable("too_short")
    if filters.max_s is not None and duration_s > filters.max_s:
        raise Unusable("too_long")


def one_of(captions: Sequence[str], rng: np.random.Generator | None) -> int:
    return 0 if rng is None else int(rng.integers(len(captions)))


def _number(record: Mapping[str, Any], name: str) -> float | None:
    value = record.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
