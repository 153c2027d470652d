"""`autorecap genau encode`: shards to latents, on Ray actors that each hold the models, or in this process.

A shard is one task: an actor that dies is started again and takes its shard again; a shard that is in place is never
made again. On several machines SHARDS, OUT and the weights must be where all of them see them, at the same path.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpus.store import Store
from pipeline.runfolder import open_store
from pipeline.shown import one_line

if TYPE_CHECKING:
    from genau.encode import ClipEncoder, EncodeOptions
    from genau.encode_folder import EncodedShard, Job
    from generation.latent_numbers import Numbers


@dataclass(frozen=True)
class Models:
    """What encodes, as an actor loads it."""

    vae: str
    text: tuple[str, ...]
    clap_tokenizer: str | None
    device: str
    batch: int | None
    threads: int
    cache: str | None


def genau_encode_verb(
    shards: Sequence[str],
    out: str,
    *,
    vae: str,
    text: Sequence[str],
    clap_tokenizer: str | None,
    dataset: str | None,
    clap_min: float | None,
    min_s: float,
    max_s: float | None,
    keep_silence: bool,
    numbers: Numbers,
    audio_vectors: bool,
    device: str,
    batch: int | None,
    threads: int,
    workers: int | None,
    cache: str | None,
    ray_address: str | None,
) -> int:
    from genau.encode import EncodeOptions
    from genau.encode_folder import jobs_of
    from generation.data_recipe import Filters
    from pipeline.engine import stop_ray
    from pipeline.stopping import Stopped, stoppable
    from pipeline.verbs import say

    filters = Filters(clap_min=clap_min, min_s=min_s, max_s=max_s, keep_silence=keep_silence)
    options = EncodeOptions(
        dataset=dataset, filters=filters, numbers=numbers, audio_vectors=audio_vectors, threads=threads
    )
    jobs = jobs_of([at_home(place) for place in shards])
    models = Models(
        at_home(vae), tuple(named_at_home(name) for name in text), clap_tokenizer and at_home(clap_tokenizer),
        device, batch, threads, cache and str(Path(cache).absolute()),
    )  # fmt: skip
    try:
        with stoppable():
            manifest, seconds = encode_all(jobs, open_store(out), models, options, workers, ray_address)
    except Stopped as stopped:
        say(f"{stopped}: shards that are written stay; the same command goes on")
        return stopped.exit_code
    finally:
        stop_ray()
    for line in summary(manifest, out, seconds):
        say(line)
    return 0


def encode_all(
    jobs: Sequence[Job],
    out: Store,
    models: Models,
    options: EncodeOptions,
    workers: int | None,
    ray_address: str | None = None,
) -> tuple[dict[str, Any], float]:
    """The manifest, and the seconds that were worked. `workers` None: one a GPU, or one for each `threads` of CPUs;
    0: in this process."""
    from genau.encode_folder import begin, finish, record, request_of, results, to_do
    from pipeline.bar import Bar
    from training.errors import TrainError

    crew = _Here(models) if workers == 0 else _Actors(models, workers, len(jobs), ray_address)
    try:
        made_with = crew.made_with()
        if options.audio_vectors and not made_with["text"]["hears"]:
            raise TrainError(
                f"--audio-vectors: {' + '.join(models.text)} only reads; name a CLAP (--text), or leave it out"
            )
        request = request_of(jobs, made_with | _options_told(options))
        if (manifest := begin(out, request)) is not None:
            return manifest, 0.0
        todo, began = to_do(out, jobs), time.monotonic()
        done = sum(shard.clips for shard in results(out, [job for job in jobs if job not in todo]))
        with Bar("encode", sum(job.shard.clips for job in jobs)) as bar:
            before, samples = done, 0
            for shard in crew.encode(todo, out, options):
                record(out, shard)
                done, samples = done + shard.clips, samples + shard.samples
                rate = (done - before) / max(time.monotonic() - began, 1e-6)
                bar.at(done, f"{rate:.1f} clips/s, {samples} latents, {shard.path} done")
        return finish(out, jobs, request), time.monotonic() - began
    finally:
        crew.close()


def _options_told(options: EncodeOptions) -> dict[str, Any]:
    filters = options.filters.model_dump(mode="json")
    return {
        "dataset": options.dataset, "filters": filters, "numbers": options.numbers,
        "audio_vectors": options.audio_vectors,
    }  # fmt: skip


def load_encoder(models: Models) -> tuple[ClipEncoder, dict[str, Any]]:
    """The encoder, and what of it makes two folders of latents the same. WeightsError, ConditionerError."""
    import torch

    from genau.codec import load_codec
    from genau.encode import ClipEncoder
    from generation.conditioners.cache import Cached
    from generation.conditioners.load import load_conditioner

    device = models.device if models.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        torch.set_num_threads(models.threads)
    conditioner = load_conditioner(models.text, device, clap_tokenizer=models.clap_tokenizer)
    if models.cache is not None:
        conditioner = Cached(conditioner, Path(models.cache))
    codec = load_codec(models.vae).to(device)
    encoder = ClipEncoder(codec, conditioner, device, models.batch)
    text = {
        "encoders": list(models.text), "width": conditioner.width, "hears": len(conditioner.hears),
        "weights_sha256": conditioner.weights_sha256,
    }  # fmt: skip
    return encoder, {"vae": {"name": models.vae, "weights_sha256": codec.weights_sha256}, "text": text}


class _Here:
    """The models in this process."""

    def __init__(self, models: Models) -> None:
        self._encoder, self._made_with = load_encoder(models)

    def made_with(self) -> dict[str, Any]:
        return self._made_with

    def encode(self, jobs: Sequence[Job], out: Store, options: EncodeOptions) -> Iterator[EncodedShard]:
        from genau.encode import encode_shard

        for job in jobs:
            yield encode_shard(job.shard, out, job.path, self._encoder, options)

    def close(self) -> None:
        """Nothing to give back."""


class _Actors:
    """The models on Ray actors, one shard at a time each."""

    def __init__(self, models: Models, workers: int | None, jobs: int, ray_address: str | None) -> None:
        from pipeline.engine import ensure_ray

        ensure_ray(ray_address)
        import ray

        has = ray.cluster_resources()
        on_gpu = models.device.startswith("cuda") or (models.device == "auto" and has.get("GPU", 0) >= 1)
        most = has.get("GPU", 0) if on_gpu else has.get("CPU", 1) // models.threads
        count = max(1, min(workers or int(most), jobs))
        asked: dict[str, Any] = {"num_cpus": models.threads, "num_gpus": 1 if on_gpu else 0}
        actor = ray.remote(max_restarts=2, max_task_retries=2, **asked)(Encoder)
        self._actors = [actor.remote(models) for _ in range(count)]

    def made_with(self) -> dict[str, Any]:
        import ray

        made: dict[str, Any] = ray.get(self._actors[0].made_with.remote())
        return made

    def encode(self, jobs: Sequence[Job], out: Store, options: EncodeOptions) -> Iterator[EncodedShard]:
        import ray

        waiting, busy = list(reversed(jobs)), dict[Any, Any]()
        for actor in self._actors[: len(waiting)]:
            busy[actor.encode.remote(waiting.pop(), out, options)] = actor
        while busy:
            done, _ = ray.wait(list(busy), num_returns=1)
            actor = busy.pop(done[0])
            if waiting:
                busy[actor.encode.remote(waiting.pop(), out, options)] = actor
            yield ray.get(done[0])

    def close(self) -> None:
        import ray

        for actor in self._actors:
            ray.kill(actor)


class Encoder:
    """What an actor is. It loads when it is first asked: what fails then is told once, an actor that cannot be made
    would be made again and again."""

    def __init__(self, models: Models) -> None:
        self._here: _Here | None = None
        self._models = models

    def made_with(self) -> dict[str, Any]:
        return self._loaded().made_with()

    def encode(self, job: Job, out: Store, options: EncodeOptions) -> EncodedShard:
        return next(self._loaded().encode([job], out, options))

    def _loaded(self) -> _Here:
        self._here = self._here or _Here(self._models)
        return self._here


def summary(manifest: dict[str, Any], out: str, seconds: float) -> Iterator[str]:
    size = f"{manifest['bytes'] / 1e6:.1f} MB"
    told = "was there already" if seconds == 0 else "written"
    latents = f"{manifest['samples']} latents of {manifest['clips']} clips, {manifest['hours']:.2f} h"
    yield f"{told}: {latents}, {size} in {out}"
    for reason, count in manifest["skipped"].items():
        yield f"  {count:>8} left out: {one_line(reason)}"
    if seconds:
        yield f"{seconds:.0f} s"


def at_home(place: str) -> str:
    """A path of this machine as an absolute one: a Ray worker has a working folder of its own. URLs, names stay."""
    return str(Path(place).absolute()) if "://" not in place and (Path(place).exists() or "{" in place) else place


def named_at_home(name: str) -> str:
    """`clap:FILE`, `t5:FOLDER` with their path as `at_home` has it."""
    kind, _, model = name.partition(":")
    return f"{kind}:{at_home(model)}" if model else name
