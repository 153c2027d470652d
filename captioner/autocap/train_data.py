"""Shards to batches: decode, cut to what AutoCap hears, mix, and know the place in the data to the clip.

    loader = batches(shards, recipe, rank=0, world=1, cursors=None)
    for batch in loader: ...                 # without end
    batch.cursor                             # how far batch.reader has read: what a checkpoint keeps

Each loader process reads a stream of its own (training/shards.py); what is drawn for a clip follows from the seed, the
reader and the clip's place in the stream, so that reading on from a cursor gives what reading through would have given.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from audio.codec import decode_bytes
from audio.faults import DecodeError
from audio.resample import resample
from captioner.autocap.augment import chosen_keys, drop_keys, joined_metadata
from captioner.autocap.frontend import MIN_SAMPLES, SAMPLE_RATE_HZ, WINDOW_SAMPLES
from captioner.autocap.train_recipe import TrainRecipe
from captioner.load import Metadata
from scorer.windows import SLACK
from training.errors import TrainError
from training.mixtures import joined, mix
from training.samples import Unusable, captions_in, record_of, sound_of
from training.shards import Sample, Shards, one_pass, stream

log = logging.getLogger(__name__)

#: Samples read one after the other without a single one that can be heard: the shards are not what they should be.
MAX_BAD_IN_A_ROW = 100


@dataclass
class Clip:
    """One clip as it goes into a batch."""

    key: str
    wave: np.ndarray  # mono float32 at 32 kHz, 10 s at most
    captions: tuple[str, ...]  # one in training, all of them in validation
    metadata: Metadata
    sha: str | None  # of the encoded sound, if the wave is all of it: what a CLAP embedding is kept under
    clap_model: str = ""
    clap_embedding: np.ndarray | None = None  # of the whole sound, as the shard carries it


@dataclass
class Batch:
    clips: list[Clip]
    reader: int  # of this rank's readers, the one that made it
    cursor: int  # samples that reader had read when it was made
    skipped: dict[str, int] = field(default_factory=dict)  # since its batch before, by reason

    @property
    def captions(self) -> list[str]:
        return [clip.captions[0] for clip in self.clips]


def clip_of(sample: Sample, recipe: TrainRecipe, rng: np.random.Generator | None) -> Clip:
    """One sample of a shard; a window at random and one of its captions with `rng`, else the first window and all."""
    record = record_of(sample)
    captions = captions_in(record)
    if not captions:
        raise Unusable("no_caption")
    sound, wave = _sound(sample)
    sha: str | None = hashlib.sha1(sound, usedforsecurity=False).hexdigest()
    if wave.size > WINDOW_SAMPLES * SLACK:
        first = 0 if rng is None else int(rng.integers(wave.size - WINDOW_SAMPLES + 1))
        wave, sha = wave[first:], None
    wave = wave[:WINDOW_SAMPLES]
    metadata = chosen_keys(_metadata(record), recipe.text.keys)
    if rng is not None:
        captions = (captions[int(rng.integers(len(captions)))],)
        metadata = drop_keys(metadata, recipe.text.drop_key, rng)
    return Clip(str(sample["__key__"]), wave, captions, metadata, sha, *_embedding(record))


def captions_of(sample: Sample) -> tuple[str, ...]:
    """A sample's captions, nothing decoded; empty where it has none."""
    try:
        return captions_in(record_of(sample))
    except Unusable:
        return ()


def metadata_of(sample: Sample) -> Metadata:
    """What the source says of a sample, nothing decoded; empty where it says nothing."""
    try:
        return _metadata(record_of(sample))
    except Unusable:
        return Metadata()


def _metadata(record: Mapping[str, Any]) -> Metadata:
    source = record.get("original_data")
    told: Mapping[str, Any] = source if isinstance(source, dict) else {}
    return Metadata(**{name: text if isinstance(text := told.get(name), str) else "" for name in Metadata._fields})


def _embedding(record: Mapping[str, Any]) -> tuple[str, np.ndarray | None]:
    source = record.get("original_data")
    values = source.get("clap_audio_embedding") if isinstance(source, dict) else None
    model = record.get("clap_model")
    if not isinstance(values, list) or not isinstance(model, str):
        return "", None
    try:
        vector = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError):
        return "", None
    return (model, vector) if vector.ndim == 1 and np.isfinite(vector).all() else ("", None)


def _sound(sample: Sample) -> tuple[bytes, np.ndarray]:
    """The sample's bytes and mono wave."""
    sound = sound_of(sample)
    try:
        wave, found_hz = decode_bytes(sound)
    except DecodeError:
        raise Unusable("undecodable") from None
    wave = resample(wave, found_hz, SAMPLE_RATE_HZ)
    if wave.size < MIN_SAMPLES:
        raise Unusable("too_short")
    return sound, wave


class Stream(IterableDataset[Batch]):
    """The batches of one rank. In loader process v it plays the reader (v + first_reader) of the rank's `readers`."""

    def __init__(
        self,
        shards: Shards,
        recipe: TrainRecipe,
        *,
        rank: int,
        world: int,
        cursors: Sequence[int],
        first_reader: int,
    ) -> None:
        super().__init__()
        self.shards, self.recipe = shards, recipe
        self.rank, self.world, self.cursors, self.first_reader = rank, world, list(cursors), first_reader

    def __iter__(self) -> Iterator[Batch]:
        info = get_worker_info()
        if info is not None:
            torch.set_num_threads(1)
        count = len(self.cursors)
        reader = ((0 if info is None else info.id) + self.first_reader) % count
        number = self.rank * count + reader
        cursor = self.cursors[reader]
        samples = stream(
            self.shards, seed=self.recipe.seed, reader=number, readers=self.world * count,
            shuffle_clips=self.recipe.data.shuffle_clips,
        )  # fmt: skip
        return self._batches(islice(samples, cursor, None), reader, number, cursor)

    def _batches(self, samples: Iterator[Sample], reader: int, number: int, cursor: int) -> Iterator[Batch]:
        size, in_a_row = self.recipe.optimizer.batch_clips, 0
        clips: list[Clip] = []
        skipped: dict[str, int] = {}
        for sample in samples:
            rng = np.random.default_rng([self.recipe.seed, number, cursor])
            cursor += 1
            try:
                clips.append(clip_of(sample, self.recipe, rng))
                in_a_row = 0
            except Unusable as error:
                skipped[error.reason] = skipped.get(error.reason, 0) + 1
                in_a_row += 1
                if in_a_row == MAX_BAD_IN_A_ROW:
                    raise TrainError(
                        f"data: {in_a_row} samples one after the other could not be used, the last one "
                        f"({sample['__key__']} of {sample['__url__']}) for {error.reason}"
                    ) from error
            if len(clips) == size:
                yield Batch(self._mixed(clips, rng), reader, cursor, skipped)
                clips, skipped = [], {}

    def _mixed(self, clips: list[Clip], rng: np.random.Generator) -> list[Clip]:
        """Some of the clips with another one of the batch under them."""
        augment = self.recipe.augment
        if augment.mix == 0 or len(clips) < 2:
            return clips
        return [
            mixture(clip, clips[(at + int(rng.integers(1, len(clips)))) % len(clips)], self.recipe, rng)
            if rng.random() < augment.mix
            else clip
            for at, clip in enumerate(clips)
        ]


def mixture(front: Clip, back: Clip, recipe: TrainRecipe, rng: np.random.Generator) -> Clip:
    """Two clips as one: side by side at one level, or the second in the background."""
    background = bool(rng.random() < recipe.augment.mix_background)
    snr_db = float(rng.uniform(*recipe.augment.mix_background_snr_db)) if background else 0.0
    return Clip(
        key=f"{front.key}+{back.key}",
        wave=mix(front.wave, back.wave, snr_db),
        captions=(joined(front.captions[0], back.captions[0], background=background),),
        metadata=joined_metadata(front.metadata, back.metadata),
        sha=None,
    )


@dataclass(frozen=True)
class Place:
    """Where one rank stands in the data: how far each of its readers has read, and whose turn is next."""

    cursors: tuple[int, ...]
    next_reader: int = 0

    def after(self, batch: Batch) -> Place:
        cursors = list(self.cursors)
        cursors[batch.reader] = batch.cursor
        return replace(self, cursors=tuple(cursors), next_reader=(batch.reader + 1) % len(cursors))


def start_of(recipe: TrainRecipe) -> Place:
    return Place(cursors=(0,) * max(1, recipe.data.loader_workers))


def batches(shards: Shards, recipe: TrainRecipe, place: Place, *, rank: int = 0, world: int = 1) -> Iterator[Batch]:
    """The rank's batches from `place` on, without end; loader processes take turns."""
    dataset = Stream(shards, recipe, rank=rank, world=world, cursors=place.cursors, first_reader=place.next_reader)
    workers = recipe.data.loader_workers
    return iter(DataLoader(dataset, batch_size=None, num_workers=workers, collate_fn=_as_it_is))


def _as_it_is(batch: Any) -> Any:
    """DataLoader's own would make tensors of what is in it."""
    return batch


def held_out(
    shards: Shards, recipe: TrainRecipe, *, rank: int, world: int, on_skip: Callable[[str], None]
) -> Iterator[list[Clip]]:
    """Clips for validation in batches: the first `max_clips` of the shards, every `world`-th of them this rank's."""
    clips: list[Clip] = []
    wanted = islice(one_pass(shards), recipe.validation.max_clips)
    for sample in islice(wanted, rank, None, world):
        try:
            clips.append(clip_of(sample, recipe, None))
        except Unusable as error:
            on_skip(error.reason)
        if len(clips) == recipe.optimizer.batch_clips:
            yield clips
            clips = []
    if clips:
        yield clips
