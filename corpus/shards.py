"""Write a planned export, shard by shard, so that it can be killed anywhere and taken up again byte for byte.

    DIR/.unfinished/request.json           what this folder is being made of; another request is refused
    DIR/<split>/00000.tar ...              each put in place whole
    DIR/.unfinished/<split>/00000.tar.parquet   the shard's index: its presence = the shard is done
    DIR/index.parquet, DIR/<split>/sizes.json, DIR/README.md
    DIR/manifest.json                      last: its presence = the export is done; then .unfinished goes

Nothing is written outside DIR. Audio is copied as it lies where that is what was asked for; where it has to
be decoded the caller's `recode` does it, since corpus/ knows no codecs.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from corpus.datacard import data_card
from corpus.differences import differences
from corpus.formats import Sample, format_named
from corpus.schema import VIEW
from corpus.shardplan import ExportError, Shard, ShardOptions, ShardPlan, window_span
from corpus.store import Store
from corpus.streamed import write_whole
from corpus.units import read_audios

log = logging.getLogger(__name__)

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
INDEX_FILE = "index.parquet"
UNFINISHED = ".unfinished"
_REQUEST = f"{UNFINISHED}/request.json"

#: Samples whose audio is in memory at once.
_CHUNK = 32

#: One row per sample, in the order of the shards.
INDEX = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("source_id", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("shard", pa.string(), nullable=False),  # path relative to the export
        pa.field("position", pa.int32(), nullable=False),  # in the shard
        pa.field("offset", pa.int64(), nullable=False),  # of the audio's bytes in the shard
        pa.field("size", pa.int64(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),  # of the audio's bytes
        pa.field("codec", pa.string(), nullable=False),
        pa.field("sample_rate_hz", pa.int32(), nullable=False),
        pa.field("num_samples", pa.int64(), nullable=False),
        pa.field("start_s", pa.float64(), nullable=False),
        pa.field("end_s", pa.float64(), nullable=False),
        pa.field("caption", pa.string()),
        pa.field("clap_score", pa.float32()),
    ]
)


@dataclass(frozen=True)
class Encoded:
    """Audio made for a shard."""

    audio: bytes
    sample_rate_hz: int
    num_samples: int


class Recode(Protocol):
    def __call__(
        self, members: Sequence[bytes], *, first: int, last: int, sample_rate_hz: int | None, codec: str
    ) -> Encoded:
        """Decode `members`, put them together, keep samples `first` to `last`, resample, encode.

        ValueError when the members cannot be decoded or hold fewer than `last` samples.
        """
        ...


@dataclass(frozen=True)
class ShardResult:
    """A shard that is in place."""

    path: str
    samples: int
    bytes: int
    audio_s: float
    sha256: str


def begin(out: Store, request: Mapping[str, Any]) -> dict[str, Any] | None:
    """Claim the folder for this request. The manifest, when this very export is already complete there.

    ExportError when the folder holds another export, saying what differs, or files that are no export.
    """
    files = out.list("")
    if MANIFEST in files:
        manifest = _read_json(out, MANIFEST)
        _refuse_difference(out, manifest.get("request"), request)
        lost = sorted(set(manifest["files"]) - set(files))
        if lost:
            raise ExportError(
                f"{out.root} holds this export, but {len(lost)} of its files are gone (e.g. {lost[0]}); "
                "delete the folder and export again"
            )
        _tidy(out)
        return manifest
    if _REQUEST in files:
        _refuse_difference(out, _read_json(out, _REQUEST), request)
        return None
    if files:
        raise ExportError(
            f"{out.root} holds {len(files)} files that are no export (e.g. {files[0]}); use an empty folder"
        )
    out.put_if_absent(_REQUEST, to_json(request))
    return None


def shards_to_do(out: Store, plan: ShardPlan) -> list[Shard]:
    """The shards that are not in place yet."""
    files = set(out.list(""))
    return [shard for shard in plan.shards if shard.path not in files or _part(shard) not in files]


def export_shard(
    store: Store, out: Store, shard: Shard, rows: pa.Table, options: ShardOptions, recode: Recode
) -> ShardResult:
    """Write one shard and its index part. `rows` come from ShardPlan.handed_out."""
    maker = format_named(options.format)
    index: list[dict[str, Any]] = []

    def write(file: BinaryIO) -> None:
        for sample, written in maker.write_shard(file, _samples(store, rows, options, recode)):
            index.append(
                {
                    "key": sample.key,
                    "clip_id": sample.row["clip_id"],
                    "source_id": sample.row["source_id"],
                    "split": shard.split,
                    "shard": shard.path,
                    "position": len(index),
                    "offset": written.offset,
                    "size": written.size,
                    "sha256": hashlib.sha256(sample.audio).hexdigest(),
                    "codec": sample.codec,
                    "sample_rate_hz": sample.sample_rate_hz,
                    "num_samples": sample.num_samples,
                    "start_s": sample.start_s,
                    "end_s": sample.end_s,
                    "caption": sample.row["caption"],
                    "clap_score": sample.row["clap_score"],
                }
            )

    placed = write_whole(out, shard.path, write)
    part = pa.Table.from_pylist(index, schema=INDEX)
    audio_s = sum(entry["num_samples"] / entry["sample_rate_hz"] for entry in index)
    result = ShardResult(shard.path, len(index), placed.size, audio_s, placed.sha256)
    note = {"autorecap.shard": json.dumps(asdict(result))}
    write_whole(out, _part(shard), lambda file: pq.write_table(part.replace_schema_metadata(note), file))
    return result


def finish(out: Store, plan: ShardPlan, request: Mapping[str, Any], summary: Mapping[str, Any]) -> dict[str, Any]:
    """Put index, sizes, card and, last, the manifest in place; returns the manifest.

    `summary` is what the manifest also tells: the view, the versions.
    """
    results: list[ShardResult] = []

    def write_index(file: BinaryIO) -> None:
        with pq.ParquetWriter(file, INDEX, compression="zstd") as writer:
            for table in _gathered(_parts(out, plan, results)):
                writer.write_table(table)

    files: dict[str, dict[str, Any]] = {}
    placed = write_whole(out, INDEX_FILE, write_index)
    for result in results:
        files[result.path] = {"bytes": result.bytes, "sha256": result.sha256, "samples": result.samples}
    files[INDEX_FILE] = {"bytes": placed.size, "sha256": placed.sha256}
    counts = _counts(plan, results)
    small = _split_files(request["format"], results)
    small["README.md"] = data_card(request, counts, summary).encode()
    for path, data in small.items():
        out.replace(path, data)
        files[path] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    manifest = {
        "format_version": FORMAT_VERSION,
        "request": dict(request),
        **{name: sum(count[name] for count in counts.values()) for name in ("clips", "shards", "bytes")},
        "counts": counts,
        **summary,
        "files": dict(sorted(files.items())),
    }
    out.put_if_absent(MANIFEST, to_json(manifest))
    _tidy(out)
    return manifest


def to_json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


# From rows to samples.


def _samples(store: Store, rows: pa.Table, options: ShardOptions, recode: Recode) -> Iterator[Sample]:
    extra = [name for name in rows.column_names if name not in {*VIEW.names, "window", "windows"}]
    for at in range(0, rows.num_rows, _CHUNK):
        chunk = rows.slice(at, _CHUNK).to_pylist()
        wanted = [_needed_members(row) for row in chunk]
        locations = [member for needed in wanted for member in needed.members]
        audios = iter(_read_members(store, locations))
        for row, needed in zip(chunk, wanted, strict=True):
            audio = [next(audios) for _ in needed.members]
            yield _sample(row, needed, audio, options, recode, {name: row[name] for name in extra})


@dataclass(frozen=True)
class _Needed:
    """The members that hold a sample's audio, and which of their samples (put together) it takes."""

    members: list[dict[str, Any]]
    first: int
    last: int
    start: int  # of the whole clip's samples


def _needed_members(row: Mapping[str, Any]) -> _Needed:
    start, stop = window_span(row["num_samples"], row["window"], row["windows"])
    members = row["members"] or [row]
    picked, skipped, at = [], 0, 0
    for member in members:
        end = at + member["num_samples"]
        if end <= start:
            skipped = end
        elif at < stop:
            picked.append(member)
        at = end
    return _Needed(picked, start - skipped, stop - skipped, start)


def _read_members(store: Store, members: Sequence[Mapping[str, Any]]) -> list[bytes]:
    columns = ("tar", "tar_member", "tar_offset", "tar_size")
    table = pa.table({name: [member[name] for member in members] for name in columns})
    good = []
    for member, audio in zip(members, read_audios(store, table), strict=True):
        if audio is None or hashlib.sha256(audio).hexdigest() != member["sha256"]:
            what = "cannot be read" if audio is None else "is not what was committed (its SHA-256 differs)"
            raise ExportError(
                f"clip {member['clip_id']}: its audio in {member['tar']} {what}; autorecap verify says what is damaged"
            )
        good.append(audio)
    return good


def _sample(
    row: dict[str, Any],
    needed: _Needed,
    audio: list[bytes],
    options: ShardOptions,
    recode: Recode,
    extra: Mapping[str, Any],
) -> Sample:
    if _is_copy(row, options):
        encoded = Encoded(audio[0], row["sample_rate_hz"], row["num_samples"])
    else:
        try:
            encoded = recode(
                audio,
                first=needed.first,
                last=needed.last,
                sample_rate_hz=options.sample_rate_hz,
                codec=options.codec,
            )
        except ValueError as error:
            raise ExportError(f"clip {row['clip_id']}: {error}") from error
    start_s = row["start_ms"] / 1000 + needed.start / row["sample_rate_hz"]
    return Sample(
        key=row["clip_id"] if row["windows"] == 1 else f"{row['clip_id']}-w{row['window']}",
        audio=encoded.audio,
        codec=options.codec,
        extension=options.codec,
        sample_rate_hz=encoded.sample_rate_hz,
        num_samples=encoded.num_samples,
        start_s=round(start_s, 3),
        end_s=round(start_s + encoded.num_samples / encoded.sample_rate_hz, 3),
        row=row,
        extra=extra,
    )


def _is_copy(row: Mapping[str, Any], options: ShardOptions) -> bool:
    """True when the committed bytes are already what is asked for."""
    return (
        row["codec"] == options.codec
        and options.sample_rate_hz in (None, row["sample_rate_hz"])
        and row["windows"] == 1
        and not row["members"]
    )


# Files.


def _part(shard: Shard) -> str:
    return f"{UNFINISHED}/{shard.path}.parquet"


def _parts(out: Store, plan: ShardPlan, results: list[ShardResult]) -> Iterator[pa.Table]:
    """The index parts in order; what each says of its shard is added to `results`."""
    for shard in plan.shards:
        with out.open(_part(shard)) as file:
            part = pq.read_table(file)
        results.append(ShardResult(**json.loads(part.schema.metadata[b"autorecap.shard"])))
        yield part.replace_schema_metadata(None)


def _gathered(parts: Iterator[pa.Table], rows: int = 100_000) -> Iterator[pa.Table]:
    """Tables of at least `rows` rows, so that the index gets row groups of a useful size."""
    waiting: list[pa.Table] = []
    for part in parts:
        waiting.append(part)
        if sum(table.num_rows for table in waiting) >= rows:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def _counts(plan: ShardPlan, results: Sequence[ShardResult]) -> dict[str, dict[str, Any]]:
    """Per split: shards, samples, clips, sources, hours, bytes. A split that got nothing has zeros."""
    counts: dict[str, dict[str, Any]] = {}
    for split, clips in plan.clips.items():
        mine = [result for result in results if result.path.startswith(f"{split}/")]
        counts[split] = {
            "shards": len(mine),
            "samples": sum(result.samples for result in mine),
            "clips": clips,
            "sources": plan.sources[split],
            "hours": round(sum(result.audio_s for result in mine) / 3600, 6),
            "bytes": sum(result.bytes for result in mine),
        }
    return counts


def _split_files(format_name: str, results: Sequence[ShardResult]) -> dict[str, bytes]:
    maker = format_named(format_name)
    samples_of: dict[str, dict[str, int]] = {}
    for result in results:
        split, _, name = result.path.rpartition("/")
        samples_of.setdefault(split, {})[name] = result.samples
    return {
        f"{split}/{name}": data
        for split, shards in samples_of.items()
        for name, data in maker.split_files(shards).items()
    }


def _tidy(out: Store) -> None:
    """Remove what only an unfinished export needs."""
    for path in [*out.list(UNFINISHED), *out.list(temporary=True)]:
        out.delete(path)
    folder = out.local(UNFINISHED)
    if folder is not None and folder.is_dir():
        shutil.rmtree(folder, ignore_errors=True)


def _read_json(out: Store, path: str) -> dict[str, Any]:
    try:
        value = json.loads(out.read(path))
    except ValueError as error:
        raise ExportError(f"{out.root}/{path} is no JSON: the folder is damaged or no export") from error
    if not isinstance(value, dict):
        raise ExportError(f"{out.root}/{path} is no record of an export")
    return value


def _refuse_difference(out: Store, there: Any, here: Mapping[str, Any]) -> None:
    lines = [f"  {line}" for line in differences(there if isinstance(there, dict) else {}, dict(here))]
    if lines:
        raise ExportError("\n".join([f"{out.root} holds another export:", *lines, "  use another folder for this one"]))
