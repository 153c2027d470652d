"""Check an exported folder against its manifest: every byte, every member, every count, every number.

    report = verify_shards("runs/demo/shards/MQ", decode=True)

Each check is one line of the report; a damaged file is named with what was expected and what was found.
A shard is read once, from front to back.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.report import Check, Report
from corpus.shards import INDEX_FILE, MANIFEST, UNFINISHED
from corpus.store import Store

#: Lossy codecs pad their first and last frame.
_LOSSY_TOLERANCE_S = 0.1

#: Faults told one by one; beyond that they are counted.
_TOLD = 5

_NUMBER = re.compile(r"^(?P<split>[a-z]+)/(?P<prefix>[A-Za-z0-9_-]*?)(?P<number>\d{5,})\.tar$")


def verify_shards(folder: str, decode: bool = False, workers: int = 2) -> Report:
    """Check the export in `folder` (a path or an fsspec URL). With `decode`, all audio is decoded too."""
    out = Store(folder)
    checks: list[Check] = []
    manifest = _manifest(out, checks)
    if manifest is None:
        return Report(checks)
    files: dict[str, dict[str, Any]] = manifest["files"]
    present = set(out.list(""))
    shards = {path: entry for path, entry in files.items() if "samples" in entry}
    checks.append(_presence(files, present))
    checks.append(_strangers(files, present))
    checks.append(_numbering(manifest["counts"], shards, present))
    checks.append(_small_files(out, files, set(shards), present))
    readable = [path for path in shards if path in present]
    with ExitStack() as opened, ThreadPoolExecutor(max_workers=max(workers, 1)) as pool:
        index = _index(out, opened, present, checks)
        looks = list(pool.map(lambda path: _look(out, path, index, decode), readable))
        checks += _shard_checks(dict(zip(readable, looks, strict=True)), shards, index, decode)
        checks.append(_sizes(out, shards, present))
        checks.append(_counts(manifest, shards, index))
        checks += [_keys(index), _splits(index)] if index is not None else []
    return Report(checks)


@dataclass
class _Look:
    """What one pass over a shard found."""

    sha256: str = ""
    size: int = 0
    samples: int = 0
    broken: list[str] = field(default_factory=list)  # not a tar, or cut short
    pairs: list[str] = field(default_factory=list)  # members that do not pair up, or in another order than the index
    records: list[str] = field(default_factory=list)  # JSON that readers would trip over
    audio: list[str] = field(default_factory=list)  # audio that is not what the index states
    decoded: list[str] = field(default_factory=list)


@dataclass
class _Members:
    """The members of one key."""

    key: str
    data: dict[str, bytes] = field(default_factory=dict)


def _manifest(out: Store, checks: list[Check]) -> dict[str, Any] | None:
    try:
        manifest = json.loads(out.read(MANIFEST))
        good = isinstance(manifest["files"], dict) and isinstance(manifest["counts"], dict)
    except FileNotFoundError:
        unfinished = bool(out.list(UNFINISHED))
        detail = "the export was not finished; run it again" if unfinished else "there is no manifest.json"
        checks.append(Check("manifest", False, detail))
        return None
    except (ValueError, KeyError, TypeError) as error:
        checks.append(Check("manifest", False, f"manifest.json cannot be read: {error}"))
        return None
    if not good:
        checks.append(Check("manifest", False, "manifest.json is no manifest of an export"))
        return None
    checks.append(Check("manifest", True, f"{len(manifest['files'])} files"))
    return manifest  # type: ignore[no-any-return]


def _presence(files: Mapping[str, Any], present: set[str]) -> Check:
    return _check("files present", [f"{path} is missing" for path in files if path not in present], len(files))


def _strangers(files: Mapping[str, Any], present: set[str]) -> Check:
    """Shards that the manifest does not know would be read by a trainer all the same."""
    strange = [path for path in present if path.endswith(".tar") and path not in files]
    return _check("no other shards", [f"{path} is not in the manifest" for path in sorted(strange)], len(files))


def _numbering(counts: Mapping[str, Any], shards: Mapping[str, Any], present: set[str]) -> Check:
    """Readers are given 00000..N: in the folder itself, no number may be missing."""
    numbers: dict[str, list[int]] = {}
    faults = []
    for path in sorted({path for path in present if path.endswith(".tar")} | set(shards)):
        match = _NUMBER.match(path)
        if match is None:
            faults.append(f"{path} has no number")
        elif path in present:
            numbers.setdefault(match["split"], []).append(int(match["number"]))
    for split in {**counts, **numbers}:
        found = numbers.get(split, [])
        stated = counts.get(split, {}).get("shards", 0)
        missing = sorted(set(range(max([*found, stated - 1], default=-1) + 1)) - set(found))
        faults += [f"{split} has no shard number {number:05d}" for number in missing]
    return _check("numbering", faults, len(shards))


def _small_files(out: Store, files: Mapping[str, Any], shards: set[str], present: set[str]) -> Check:
    faults = []
    others = [path for path in files if path not in shards and path in present]
    for path in others:
        with out.open(path) as file:
            reader = _HashingReader(file)
            reader.drain()
        sha256 = reader.sha256.hexdigest()
        if sha256 != files[path]["sha256"]:
            faults.append(f"{path}: SHA-256 is {sha256[:12]}, the manifest says {files[path]['sha256'][:12]}")
    return _check("index and small files", faults, len(others))


class _Index:
    """index.parquet, read in parts: the narrow columns at once, a shard's rows when it is looked at."""

    COLUMNS = ("key", "source_id", "shard", "codec", "sha256", "sample_rate_hz", "num_samples")

    def __init__(self, file: BinaryIO) -> None:
        self._parquet = pq.ParquetFile(file, read_dictionary=["source_id", "split", "shard"])
        self._lock = Lock()
        self._group: tuple[int, pa.Table | None] = (-1, None)
        self.narrow = self._parquet.read(columns=["key", "source_id", "split", "shard"])
        self._first: dict[str, int] = {}
        self.samples: dict[str, int] = {}
        at = 0
        for shard, count in _runs(self.narrow.column("shard")):
            self._first.setdefault(shard, at)
            self.samples[shard] = self.samples.get(shard, 0) + count
            at += count

    def rows(self, shard: str) -> list[dict[str, Any]]:
        """The rows of a shard, in order; they lie together."""
        first = self._first.get(shard, 0)
        last = first + self.samples.get(shard, 0)
        found: list[dict[str, Any]] = []
        start = 0
        for number in range(self._parquet.num_row_groups):
            stop = start + self._parquet.metadata.row_group(number).num_rows
            if start < last and first < stop:
                found += self._read_group(number).slice(max(first - start, 0), last - max(first, start)).to_pylist()
            start = stop
        return found

    def _read_group(self, number: int) -> pa.Table:
        with self._lock:
            if self._group[0] != number:
                self._group = (number, self._parquet.read_row_group(number, columns=list(self.COLUMNS)))
            return self._group[1]


def _runs(column: pa.ChunkedArray) -> Iterator[tuple[str, int]]:
    """(value, length) of every run of equal values."""
    for chunk in column.chunks:
        encoded = pc.run_end_encode(chunk.cast(chunk.type.value_type))
        ends = encoded.run_ends.to_pylist()
        for value, start, end in zip(encoded.values.to_pylist(), [0, *ends], ends, strict=False):
            yield value, end - start


def _index(out: Store, opened: ExitStack, present: set[str], checks: list[Check]) -> _Index | None:
    if INDEX_FILE not in present:
        return None
    try:
        return _Index(opened.enter_context(out.open(INDEX_FILE)))
    except (OSError, ValueError, KeyError) as error:
        checks.append(Check("index", False, f"{INDEX_FILE} cannot be read: {error}"))
        return None


def _look(out: Store, path: str, index: _Index | None, decode: bool) -> _Look:
    """Read a shard once: hash it and compare each sample with its index row."""
    look = _Look()
    rows = index.rows(path) if index is not None else []
    with out.open(path) as file:
        reader = _HashingReader(file)
        try:
            with tarfile.open(fileobj=cast(BinaryIO, reader), mode="r|") as tar:
                for members in _by_key(tar):
                    expected = rows[look.samples] if look.samples < len(rows) else None
                    _look_at_sample(members, expected, look, decode)
                    look.samples += 1
        except (tarfile.TarError, EOFError, OSError) as error:
            look.broken.append(f"the tar cannot be read to its end: {error}")
        reader.drain()
    look.sha256, look.size = reader.sha256.hexdigest(), reader.size
    return look


def _by_key(tar: tarfile.TarFile) -> Iterator[_Members]:
    """Neighbouring members with the same name up to the first dot, as webdataset groups them."""
    current: _Members | None = None
    for member in tar:
        key, _, extension = member.name.partition(".")
        file = tar.extractfile(member)
        data = file.read() if file is not None else b""
        if file is not None and len(data) != member.size:
            raise tarfile.ReadError(f"{member.name} is cut short")
        if current is None or current.key != key or extension in current.data:
            if current is not None:
                yield current
            current = _Members(key)
        current.data[extension] = data
    if current is not None:
        yield current


def _look_at_sample(members: _Members, expected: dict[str, Any] | None, look: _Look, decode: bool) -> None:
    codec = expected["codec"] if expected else next((e for e in members.data if e != "json"), "")
    if set(members.data) != {codec, "json"}:
        look.pairs.append(f"{members.key} has the members {sorted(members.data)}, expected {sorted({codec, 'json'})}")
    if expected is not None and expected["key"] != members.key:
        look.pairs.append(f"{members.key} stands where the index has {expected['key']}")
        return
    if "json" in members.data:
        look.records += _record_faults(members.key, members.data["json"])
    audio = members.data.get(codec)
    if audio is None or expected is None:
        return
    if hashlib.sha256(audio).hexdigest() != expected["sha256"]:
        look.audio.append(f"{members.key}.{codec} is not the audio that was written (its SHA-256 differs)")
    elif decode:
        look.decoded += _decode_faults(members.key, audio, expected)


def _record_faults(key: str, data: bytes) -> list[str]:
    try:
        record = json.loads(data)
    except ValueError:
        return [f"{key}.json is no JSON"]
    if not isinstance(record, dict) or not isinstance(record.get("text"), str):
        return [f"{key}.json has no text"]
    return []


def _decode_faults(key: str, audio: bytes, expected: Mapping[str, Any]) -> list[str]:
    import soundfile

    try:
        wave, rate = soundfile.read(io.BytesIO(audio), dtype="int16", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        return [f"{key} cannot be decoded: {error}"]
    faults = []
    if wave.shape[1] != 1:
        faults.append(f"{key} has {wave.shape[1]} channels, expected 1")
    lossless = expected["codec"] in ("flac", "wav")
    tolerance = 0.0 if lossless else _LOSSY_TOLERANCE_S
    stated = expected["num_samples"] / expected["sample_rate_hz"]
    if lossless and rate != expected["sample_rate_hz"]:
        faults.append(f"{key} is at {rate} Hz, stated {expected['sample_rate_hz']} Hz")
    elif abs(len(wave) / rate - stated) > tolerance:
        faults.append(f"{key} has {len(wave)} samples at {rate} Hz, stated {expected['num_samples']}")
    return faults


def _shard_checks(
    looks: Mapping[str, _Look], shards: Mapping[str, Any], index: _Index | None, decode: bool
) -> list[Check]:
    hashes = [
        f"{path}: SHA-256 is {look.sha256[:12]} ({look.size} bytes), the manifest says "
        f"{shards[path]['sha256'][:12]} ({shards[path]['bytes']} bytes)"
        for path, look in looks.items()
        if look.sha256 != shards[path]["sha256"]
    ]
    counts = []
    for path, look in looks.items():
        stated = {"the manifest": shards[path]["samples"]}
        if index is not None:
            stated["the index"] = index.samples.get(path, 0)
        counts += [
            f"{path} holds {look.samples} samples, {what} says {number}"
            for what, number in stated.items()
            if look.samples != number
        ]
    samples = sum(look.samples for look in looks.values())

    def gathered(name: str, pick: Callable[[_Look], list[str]]) -> Check:
        return _check(name, [f"{path}: {fault}" for path, look in looks.items() for fault in pick(look)], samples)

    checks = [
        _check("shard checksums", hashes, len(looks)),
        gathered("tars readable", lambda look: look.broken),
        _check("samples per shard", counts, len(looks)),
        gathered("member pairs", lambda look: look.pairs),
        gathered("records", lambda look: look.records),
        gathered("audio checksums", lambda look: look.audio),
    ]
    if decode:
        checks.append(gathered("audio decodes to what is stated", lambda look: look.decoded))
    return checks


def _sizes(out: Store, shards: Mapping[str, Any], present: set[str]) -> Check:
    """sizes.json of each split: what LAION-CLAP trusts for the length of an epoch."""
    wanted: dict[str, dict[str, int]] = {}
    for path, entry in shards.items():
        split, _, name = path.rpartition("/")
        wanted.setdefault(split, {})[name] = entry["samples"]
    faults = []
    for split, sizes in wanted.items():
        path = f"{split}/sizes.json"
        if path not in present:
            faults.append(f"{path} is missing")
            continue
        try:
            there = json.loads(out.read(path))
        except ValueError:
            there = None
        if there != sizes:
            faults.append(f"{path} does not say what the shards hold")
    return _check("sizes.json", faults, len(wanted))


def _counts(manifest: Mapping[str, Any], shards: Mapping[str, Any], index: _Index | None) -> Check:
    faults = []
    for split, stated in manifest["counts"].items():
        mine = [path for path in shards if path.startswith(f"{split}/")]
        found = {"shards": len(mine), "bytes": sum(shards[path]["bytes"] for path in mine)}
        if index is not None:
            found["samples"] = sum(index.samples.get(path, 0) for path in mine)
        faults += [
            f"{split}: the manifest states {stated.get(name)} {name}, the files give {number}"
            for name, number in found.items()
            if stated.get(name) != number
        ]
    return _check("counts", faults, len(manifest["counts"]))


def _keys(index: _Index) -> Check:
    keys = index.narrow.column("key")
    counted = pc.value_counts(keys)
    twice = counted.filter(pc.greater(counted.field("counts"), 1))
    faults = [f"{entry['values']} stands {entry['counts']} times" for entry in twice.to_pylist()]
    dotted = keys.filter(pc.match_substring(keys, "."))
    faults += [f"{key!r} holds a dot: readers would cut it there" for key in dotted.to_pylist()]
    return _check("keys", faults, len(keys))


def _splits(index: _Index) -> Check:
    """A source in two splits would leak from training into the test."""
    pairs = index.narrow.select(["source_id", "split"]).group_by(["source_id", "split"]).aggregate([])
    sources = pairs.group_by("source_id").aggregate([("split", "count")])
    straddling = sources.filter(pc.greater(sources.column("split_count"), 1))
    faults = [f"source {entry['source_id']} is in {entry['split_count']} splits" for entry in straddling.to_pylist()]
    return _check("splits by source", faults, sources.num_rows)


class _HashingReader:
    """A file that is read once, hashed as it goes by."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()
        self.size = 0

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.sha256.update(data)
        self.size += len(data)
        return data

    def drain(self) -> None:
        """Read what tarfile leaves: the padding behind the end mark, or the rest of a broken file."""
        while self.read(1 << 20):
            pass


def _check(name: str, faults: list[str], looked_at: int) -> Check:
    if not faults:
        return Check(name, True, f"{looked_at} checked")
    told = "; ".join(faults[:_TOLD])
    more = f"; and {len(faults) - _TOLD} more" if len(faults) > _TOLD else ""
    return Check(name, False, told + more)
