"""Shards of sounds to shards of latents: what training would compute anew each epoch, computed once. Without Ray.

    encoder = ClipEncoder(load_codec("embedded"), conditioner)
    done = encode_shard(shard, Store("latents"), "train/00000.tar", encoder, EncodeOptions(dataset="ours"))

A clip is levelled and padded as in training; a longer one becomes even windows of 10.24 s, the silent ones left out.
Each of its captions is put through the text encoders, on request the sound as well. Sounds are decoded in threads
while the VAE works.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol, TypeVar

import numpy as np
import torch

from corpus.store import Store
from corpus.streamed import write_whole
from genau.encode_folder import EncodedShard
from genau.mel import CLIP_SAMPLES, SAMPLE_RATE_HZ, levelled
from genau.vae import Posterior
from generation.conditioners.base import Conditioner
from generation.data import LOST, STRAY
from generation.data_reader import Damaged, samples_in
from generation.data_recipe import Filters
from generation.data_samples import check_duration, check_record, told_of
from generation.data_waves import Sound, Waves
from generation.latent_numbers import Numbers, half_file, latent_file
from generation.latents import AUDIO, LATENT, TEXT
from training.samples import Unusable, record_of, sound_of
from training.shards import Sample, Shard

#: Clips of one pass. Batches are filled up, so that a clip's numbers do not depend on how many come with it.
CPU_BATCH, GPU_BATCH = 4, 64
#: Captions of one clip that are embedded.
MAX_CAPTIONS = 32
#: Of a clip's record, what goes along besides its captions and scores.
_KEPT = ("clip_id", "source_id", "start_s", "end_s", "clap_model", "caption_model", "license", "url")

T = TypeVar("T")
R = TypeVar("R")


class WaveEncoder(Protocol):
    """genau.codec.Codec, or any part that makes Gaussians (B, C, T) of levelled waves."""

    def encode(self, wave_BN: torch.Tensor) -> Posterior: ...


@dataclass(frozen=True, kw_only=True)
class EncodeOptions:
    """`dataset` None: what the records say; `numbers`: see generation/latent_numbers.py; `audio_vectors`: of the
    sounds, by the encoders that hear; `threads`: for decoding."""

    dataset: str | None = None
    filters: Filters = field(default_factory=Filters)
    numbers: Numbers = "bytes"
    audio_vectors: bool = False
    threads: int = 1


class ClipEncoder:
    """An autoencoder that lies on `device`, and the text encoders."""

    def __init__(
        self, codec: WaveEncoder, conditioner: Conditioner, device: str = "cpu", batch: int | None = None
    ) -> None:
        self.conditioner, self.device = conditioner, device
        self.batch = batch or (CPU_BATCH if device == "cpu" else GPU_BATCH)
        self._codec = codec

    @torch.inference_mode()
    def latents(self, waves: Sequence[np.ndarray]) -> np.ndarray:
        """Waves of one length -> (N, 2, C, T) float32, mean and standard deviation."""
        parts = []
        for first in range(0, len(waves), self.batch):
            some = waves[first : first + self.batch]
            filled = torch.zeros(self.batch, some[0].size)
            filled[: len(some)] = torch.from_numpy(np.stack(some))
            posterior = self._codec.encode(filled.to(self.device))
            both = torch.stack([posterior.mean, posterior.std], dim=1)[: len(some)]
            parts.append(both.float().cpu().numpy())
        return np.concatenate(parts)

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """(N, width) float16."""
        return self.conditioner.embed(texts).astype(np.float16)

    def heard(self, waves: Sequence[np.ndarray]) -> np.ndarray:
        """(N, columns) float16, of waves at GenAU's rate."""
        return self.conditioner.hear(waves, SAMPLE_RATE_HZ).astype(np.float16)


@dataclass(frozen=True)
class _Prepared:
    """One window of a clip, ready for the VAE."""

    key: str
    captions: tuple[str, ...]
    record: dict[str, Any]
    wave: np.ndarray


def encode_shard(shard: Shard, out: Store, path: str, encoder: ClipEncoder, options: EncodeOptions) -> EncodedShard:
    """Write one shard of latents; it is in place whole or not at all. TrainError where the shard cannot be read."""
    waves = Waves(SAMPLE_RATE_HZ, CLIP_SAMPLES, levelled, options.filters)
    skipped: dict[str, int] = {}
    samples, audio_s = 0, 0.0

    def skip(reason: str) -> None:
        skipped[reason] = skipped.get(reason, 0) + 1

    def write(file: BinaryIO) -> None:
        nonlocal samples, audio_s
        from webdataset.writer import TarWriter

        with (
            ThreadPoolExecutor(options.threads) as pool,
            TarWriter(file, encoder=False, mtime=0, compress=False) as tar,
        ):
            sources = _whole_samples(shard, skip)
            prepared = ahead(pool, lambda sample: _prepare(sample, waves, options), sources, 2 * options.threads + 2)
            for batch in in_batches(_usable(prepared, skip), encoder.batch):
                for window, members in _encoded(batch, encoder, options, skip):
                    tar.write(members)
                    samples += 1
                    audio_s += window.record["duration_s"]

    placed = write_whole(out, path, write)
    return EncodedShard(path, shard.clips, samples, dict(sorted(skipped.items())), placed.size, placed.sha256, audio_s)


def _whole_samples(shard: Shard, skip: Callable[[str], None]) -> Iterator[Sample]:
    """As many as the shard states; what a damaged one has lost is counted."""
    given = 0
    try:
        for sample in samples_in(shard, lambda: skip(STRAY)):
            if given < shard.clips:
                given += 1
                yield sample
    except Damaged:
        pass
    for _ in range(shard.clips - given):
        skip(LOST)


def _prepare(sample: Sample, waves: Waves, options: EncodeOptions) -> list[_Prepared] | str:
    """A clip's windows; a word for why it has none."""
    try:
        told, record = told_of(sample), record_of(sample)
        captions = check_record(told, options.filters)[:MAX_CAPTIONS]
        sound = Sound(sound_of(sample))
        check_duration(sound.duration_s, options.filters)
        windows = list(waves.windows(sound))
        if not windows:
            return "silent"
    except Unusable as error:
        return error.reason
    about = {name: record[name] for name in _KEPT if _is_plain(record.get(name))} | {
        "text": list(captions), "dataset": options.dataset or told.dataset or "", "clap_score": told.clap_score,
    }  # fmt: skip
    key = str(sample["__key__"])
    return [
        _Prepared(
            key if len(windows) == 1 else f"{key}-w{at}",
            captions,
            about | {"duration_s": round(wave.size / SAMPLE_RATE_HZ, 6)},
            waves.ready(wave),
        )
        for at, wave in enumerate(windows)
    ]


def _is_plain(value: object) -> bool:
    return isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value))


def _usable(prepared: Iterable[list[_Prepared] | str], skip: Callable[[str], None]) -> Iterator[_Prepared]:
    for one in prepared:
        if isinstance(one, str):
            skip(one)
        else:
            yield from one


def _encoded(
    batch: Sequence[_Prepared], encoder: ClipEncoder, options: EncodeOptions, skip: Callable[[str], None]
) -> Iterator[tuple[_Prepared, dict[str, Any]]]:
    """Each window with its members for the tar; one whose numbers are not finite is skipped."""
    latents = encoder.latents([window.wave for window in batch])
    texts = list(dict.fromkeys(text for window in batch for text in window.captions))
    vectors = dict(zip(texts, encoder.texts(texts), strict=True))
    heard = encoder.heard([window.wave for window in batch]) if options.audio_vectors else [None] * len(batch)
    for window, latent, audio in zip(batch, latents, heard, strict=True):
        try:
            gaussian = latent_file(latent, options.numbers)
        except ValueError:
            skip("latent_not_finite")
            continue
        yield (
            window,
            {
                "__key__": window.key,
                "json": json.dumps(window.record, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace"),
                LATENT: gaussian,
                TEXT: half_file(np.stack([vectors[text] for text in window.captions])),
            }
            | ({} if audio is None else {AUDIO: half_file(audio)}),
        )


def ahead(pool: ThreadPoolExecutor, work: Callable[[T], R], items: Iterable[T], most: int) -> Iterator[R]:
    """`work` of each item in order, up to `most` of them begun before they are asked for."""
    begun: deque[Future[R]] = deque()
    for item in items:
        begun.append(pool.submit(work, item))
        if len(begun) >= most:
            yield begun.popleft().result()
    while begun:
        yield begun.popleft().result()


def in_batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    batch: list[T] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
