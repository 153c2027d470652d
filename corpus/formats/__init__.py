"""Export formats: one file each. A format turns samples into shard files; corpus/shards.py does all the rest.

`Sample` is what every format gets; `Format` is what it must offer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol


@dataclass(frozen=True)
class Sample:
    """One training example: encoded audio and the view's row it comes from.

    `start_s`, `end_s` are on the source's time line and follow the samples that are really there. A clip that
    was cut into windows gives several samples of one row, each with its own key and span.
    """

    key: str
    audio: bytes
    codec: str
    extension: str
    sample_rate_hz: int
    num_samples: int
    start_s: float
    end_s: float
    row: Mapping[str, Any]
    extra: Mapping[str, Any] = field(default_factory=dict)  # columns the view keeps beyond the usual ones

    @property
    def duration_s(self) -> float:
        return round(self.num_samples / self.sample_rate_hz, 6)


@dataclass(frozen=True)
class Written:
    """Where a sample lies in its shard: the audio's own bytes, not their header."""

    offset: int
    size: int


class Format(Protocol):
    """One module of this package."""

    #: Bytes that a sample takes beside its audio, for planning shards of even size.
    OVERHEAD_BYTES: int

    def shard_name(self, prefix: str, number: int) -> str:
        """File name of the shard `number` (from 0) of a split."""
        ...

    def write_shard(self, file: BinaryIO, samples: Iterable[Sample]) -> Iterable[tuple[Sample, Written]]:
        """Write the samples in order, yielding each when it is written; same samples, same bytes."""
        ...

    def split_files(self, samples_of: Mapping[str, int]) -> dict[str, bytes]:
        """Further files beside the shards of a split: name -> bytes. `samples_of`: shard name -> samples."""
        ...


FORMATS = ("webdataset",)


def format_named(name: str) -> Format:
    """The format called `name`; KeyError when there is none."""
    if name == "webdataset":
        from corpus.formats.webdataset import WebDatasetFormat

        return WebDatasetFormat()
    raise KeyError(name)
