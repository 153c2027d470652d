"""The verb export: a view becomes training shards, one Ray task per shard, with never more in flight than workers.

    result = export("runs/demo", "mq", "runs/demo/shards/mq", split={"train": 90, "valid": 5, "test": 5})

Run it again after a kill and it goes on where it was; run it again when it is done and nothing happens. Which
shard holds which clip is settled before the first is written (corpus/shardplan.py), so the result is the same
bytes with one worker or a hundred.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from typing import Any

import numpy as np

from corpus import shards
from corpus.formats import FORMATS, format_named
from corpus.shardplan import COLUMNS, ExportError, Shard, ShardOptions, ShardPlan, plan_shards, split_shares
from corpus.shards import Encoded, ShardResult
from corpus.store import Store
from corpus.views import View, open_view
from pipeline.runfolder import open_store, read_record

log = logging.getLogger(__name__)

#: Packages whose version may decide an export's bytes.
_MAKERS = ("autorecap", "av", "pyarrow", "soundfile", "soxr", "webdataset")


@dataclass(frozen=True)
class ExportProgress:
    """How far an export is; `shard` is the one just written (None: the first report)."""

    shards: int
    shards_done: int
    samples: int
    samples_done: int
    bytes_written: int  # by this start
    shard: str | None


@dataclass(frozen=True)
class ExportResult:
    """A complete export. `already_there`: this very export was complete before, and nothing was written."""

    out: str
    samples: int
    clips: int
    hours: float
    shards: int
    bytes: int
    counts: Mapping[str, Mapping[str, Any]]  # by split
    already_there: bool = False
    notes: Sequence[str] = field(default_factory=tuple)  # what a person should know, one sentence each


OnProgress = Callable[[ExportProgress], None]


def export(
    run: str,
    view: str,
    out: str,
    *,
    format: str = "webdataset",
    codec: str = "flac",
    sample_rate_hz: int | None = None,
    shard_clips: int | None = None,
    shard_bytes: int = 256_000_000,
    split: Mapping[str, float] | None = None,
    seed: int = 0,
    max_clip_s: float | None = None,
    prefix: str = "",
    workers: int | None = None,
    ray_address: str | None = None,
    on_progress: OnProgress | None = None,
) -> ExportResult:
    """Write the view as shards below `out` (a folder or an fsspec URL). Raises ExportError, ViewError, OtherRun.

    `sample_rate_hz` None keeps the master's rate; `shard_clips` goes before `shard_bytes`; `split` gives shares by
    name, by source; `max_clip_s` cuts longer clips into windows. `workers`: shards at a time; None = Ray's CPUs,
    0 = in this process, without Ray.
    """
    options = ShardOptions(
        format=format,
        codec=codec,
        sample_rate_hz=sample_rate_hz,
        shard_clips=shard_clips,
        shard_bytes=shard_bytes,
        split=split_shares(split),
        seed=seed,
        max_clip_s=max_clip_s,
        prefix=prefix,
    )
    _check(options)
    store, out_store = open_store(run), open_store(out)
    read_record(store)
    from_view = open_view(store, view)
    request = _request(from_view, options)
    manifest = shards.begin(out_store, request)
    if manifest is not None:
        return _result(out_store, manifest, already_there=True)
    plan = _plan(from_view, options)
    todo = shards.shards_to_do(out_store, plan)
    report = _Reporter(plan, todo, on_progress)
    for result in _written(store, out_store, plan, from_view, todo, options, workers, ray_address):
        report.add(result)
    manifest = shards.finish(out_store, plan, request, {"view": from_view.summary, "versions": _versions()})
    return _result(out_store, manifest)


def recode(members: Sequence[bytes], *, first: int, last: int, sample_rate_hz: int | None, codec: str) -> Encoded:
    """Put members together, keep samples `first` to `last`, resample, encode. ValueError when that cannot be."""
    from audio.codec import decode_bytes, encode
    from audio.faults import DecodeError
    from audio.resample import resample

    try:
        decoded = [decode_bytes(member) for member in members]
    except DecodeError as error:
        raise ValueError(f"its audio cannot be decoded: {error}") from error
    rates = {rate for _, rate in decoded}
    if len(rates) != 1:
        raise ValueError(f"its members have the sample rates {sorted(rates)} and cannot be put together")
    rate = rates.pop()
    wave = np.concatenate([part for part, _ in decoded])
    if len(wave) < last:
        raise ValueError(f"its audio has {len(wave)} samples, {last} are stated")
    wave = wave[first:last]
    if sample_rate_hz is not None and sample_rate_hz != rate:
        wave = resample(wave, rate, sample_rate_hz)
        rate = sample_rate_hz
    return Encoded(encode(wave, rate, codec), rate, len(wave))


def _check(options: ShardOptions) -> None:
    from audio.codec import EXTENSIONS

    if options.format not in FORMATS:
        raise ExportError(f"there is no format {options.format!r}; there are {', '.join(FORMATS)}")
    if options.codec not in EXTENSIONS:
        raise ExportError(f"there is no codec {options.codec!r}; there are {', '.join(EXTENSIONS)}")
    rate = options.sample_rate_hz
    if rate is None:
        return
    if not 1000 <= rate <= 384_000:
        raise ExportError(f"the sample rate is {rate} Hz; it must be from 1000 to 384000")
    try:
        recode_silence(rate, options.codec)
    except ValueError as error:
        raise ExportError(str(error)) from error


def recode_silence(sample_rate_hz: int, codec: str) -> bytes:
    """A moment of silence: what the codec cannot take shows before any shard is begun."""
    from audio.codec import encode

    return encode(np.zeros(sample_rate_hz // 10, dtype=np.float32), sample_rate_hz, codec)


def _request(view: View, options: ShardOptions) -> dict[str, Any]:
    """What makes two exports the same: nothing of where or how fast."""
    about = {"name": view.name, "sha256": view.summary["sha256"]}
    return {
        "format_version": shards.FORMAT_VERSION,
        "view": about,
        **asdict(options),
        "split": dict(options.split or {}),
    }


def _plan(view: View, options: ShardOptions) -> ShardPlan:
    maker = format_named(options.format)
    return plan_shards(view.batches(COLUMNS), options, maker.OVERHEAD_BYTES, maker.shard_name)


def _written(
    store: Store,
    out: Store,
    plan: ShardPlan,
    view: View,
    todo: Sequence[Shard],
    options: ShardOptions,
    workers: int | None,
    ray_address: str | None,
) -> Iterator[ShardResult]:
    """Write `todo`, yielding each shard as it is in place."""
    jobs = plan.handed_out(view, todo, out.local(shards.UNFINISHED))
    if workers == 0 or (len(todo) <= 1 and ray_address is None):
        for shard, rows in jobs:
            yield shards.export_shard(store, out, shard, rows, options, recode)
        return
    yield from _written_on_ray(store, out, jobs, options, workers, ray_address)


def _written_on_ray(
    store: Store,
    out: Store,
    jobs: Iterator[tuple[Shard, Any]],
    options: ShardOptions,
    workers: int | None,
    ray_address: str | None,
) -> Iterator[ShardResult]:
    from pipeline.engine import ensure_ray

    ensure_ray(ray_address, workers)
    import ray

    @ray.remote(num_cpus=1, max_retries=2)
    def write(shard: Shard, rows: Any) -> ShardResult:
        return shards.export_shard(store, out, shard, rows, options, recode)

    limit = max(workers or int(ray.cluster_resources().get("CPU", 1)), 1)
    running: list[Any] = []
    try:
        for shard, rows in jobs:
            if len(running) >= limit:
                done, running = ray.wait(running, num_returns=1)
                yield ray.get(done[0])
            running.append(write.remote(shard, rows))
        while running:
            done, running = ray.wait(running, num_returns=1)
            yield ray.get(done[0])
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, ExportError):
            raise ExportError(str(error.cause)) from error
        raise
    finally:
        for task in running:
            ray.cancel(task)


class _Reporter:
    """Counts shards as they come and tells the caller."""

    def __init__(self, plan: ShardPlan, todo: Sequence[Shard], on_progress: OnProgress | None) -> None:
        self._tell = on_progress or (lambda progress: None)
        self._samples = sum(shard.samples for shard in plan.shards)
        self._samples_done = self._samples - sum(shard.samples for shard in todo)
        self._shards = len(plan.shards)
        self._shards_done = self._shards - len(todo)
        self._bytes = 0
        self._report(None)

    def add(self, result: ShardResult) -> None:
        self._samples_done += result.samples
        self._shards_done += 1
        self._bytes += result.bytes
        self._report(result.path)

    def _report(self, shard: str | None) -> None:
        self._tell(
            ExportProgress(self._shards, self._shards_done, self._samples, self._samples_done, self._bytes, shard)
        )


def _result(out: Store, manifest: Mapping[str, Any], already_there: bool = False) -> ExportResult:
    counts = manifest["counts"]
    notes = _notes(manifest)
    for note in notes:
        log.warning("%s", note)
    return ExportResult(
        out=out.root,
        samples=sum(count["samples"] for count in counts.values()),
        clips=manifest["clips"],
        hours=round(sum(count["hours"] for count in counts.values()), 6),
        shards=manifest["shards"],
        bytes=manifest["bytes"],
        counts=counts,
        already_there=already_there,
        notes=notes,
    )


def _notes(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """What is not wrong but should be known."""
    notes = []
    sources = sum(count["sources"] for count in manifest["counts"].values())
    for split, count in manifest["counts"].items():
        if count["clips"] == 0:
            notes.append(
                f"split {split} is empty: a source goes whole into one split, by a hash of its id, and none of the "
                f"view's {sources} sources fell there; give {split} a larger share, or take a view of more sources"
            )
    without = manifest["view"].get("without_caption", 0)
    if without:
        notes.append(f"{without} clips have no caption: their text is empty, which LAION-CLAP does not take")
    return tuple(notes)


def _versions() -> dict[str, str]:
    versions = {}
    for name in _MAKERS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "unknown"
    return versions
