"""Tar shards of one audio and one JSON member per sample, as webdataset, LAION-CLAP, stable-audio-tools and
Hugging Face `datasets` read them.

    00000.tar:  <key>.flac  <key>.json  <key>.flac  <key>.json ...      sizes.json: {"00000.tar": 512, ...}

The JSON's `text` is one string (stable-audio-tools would make a list a list prompt; LAION-CLAP takes both),
`tag` is a list, `original_data` holds what the source says of itself. Texts are never null: a loader that
guesses types from the first samples must see the same types everywhere. Keys hold no dots: readers take the
key up to the first one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO

from corpus.formats import Sample, Written

_TAR_BLOCK = 512


class WebDatasetFormat:
    """See the module's text."""

    #: Two tar headers, the JSON and both paddings.
    OVERHEAD_BYTES = 2 * _TAR_BLOCK + 1024 + _TAR_BLOCK

    def shard_name(self, prefix: str, number: int) -> str:
        return f"{prefix}{number:05d}.tar"

    def write_shard(self, file: BinaryIO, samples: Iterable[Sample]) -> Iterator[tuple[Sample, Written]]:
        # Imported here: webdataset pulls in torch where that is installed, which takes seconds.
        from webdataset.writer import TarWriter

        with TarWriter(file, encoder=False, mtime=0, compress=False) as tar:
            for sample in samples:
                text = record_json(sample)
                start = tar.tarstream.offset
                tar.write({"__key__": sample.key, sample.extension: sample.audio, "json": text})
                # Members of a sample are written in the order of their extensions.
                before = 0 if sample.extension < "json" else _TAR_BLOCK + _padded(len(text))
                yield sample, Written(offset=start + before + _TAR_BLOCK, size=len(sample.audio))

    def split_files(self, samples_of: Mapping[str, int]) -> dict[str, bytes]:
        return {"sizes.json": (json.dumps(dict(sorted(samples_of.items())), indent=0) + "\n").encode()}


def record_json(sample: Sample) -> bytes:
    """A sample's JSON member."""
    return json.dumps(record(sample), ensure_ascii=False, allow_nan=False).encode()


def record(sample: Sample) -> dict[str, Any]:
    """A sample's JSON as a dictionary; untrusted texts are values in it and nothing else."""
    row = sample.row
    return {
        "text": row["caption"] or "",
        "tag": [],
        "clip_id": row["clip_id"],
        "source_id": row["source_id"],
        "start_s": sample.start_s,
        "end_s": sample.end_s,
        "duration_s": sample.duration_s,
        "sample_rate_hz": sample.sample_rate_hz,
        "clap_score": _score(row["clap_score"]),
        "clap_model": row["clap_model"] or "",
        "caption_model": row["caption_model"] or "",
        "license": row["license"] or "",
        "url": row["url"] or "",
        "original_data": {
            "title": row["title"] or "",
            "source_id": row["source_id"],
            "url": row["url"] or "",
            "license": row["license"] or "",
            "start": sample.start_s,
            "end": sample.end_s,
            **{name: _finite(value) for name, value in sample.extra.items()},
        },
    }


def _score(value: float | None) -> float | None:
    """Single precision has six digits: more would be noise in the text."""
    return None if value is None or not math.isfinite(value) else round(float(value), 6)


def _finite(value: Any) -> Any:
    """JSON has no NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _padded(size: int) -> int:
    return -(-size // _TAR_BLOCK) * _TAR_BLOCK
