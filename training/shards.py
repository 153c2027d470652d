"""The shards of a training as an endless stream of samples whose order follows from a seed.

    shards = find_shards(["runs/demo/shards"], "train")
    for sample in stream(shards, seed=20, reader=0, readers=4, shuffle_clips=300): ...

A reader is one loader process of one worker. Every pass over the shards is in another order; with at least as many
shards as readers each reads its own shards, otherwise all read all of them and keep every n-th clip. What a reader
gives is the same whenever it is asked, so a place in the data is a number.
"""

from __future__ import annotations

import json
import logging
import random
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

from corpus.store import Store
from training.errors import TrainError

log = logging.getLogger(__name__)

Sample = dict[str, Any]


@dataclass(frozen=True)
class Shard:
    folder: str  # or an fsspec URL
    name: str  # path in it

    def __str__(self) -> str:
        return f"{self.folder}/{self.name}"


@dataclass(frozen=True)
class Shards:
    shards: tuple[Shard, ...]
    clips: int


def find_shards(places: Sequence[str], split: str) -> Shards:
    """The shards of exports (their `split`), folders of tar files, and tar files; TrainError when there are none."""
    found: list[Shard] = []
    clips = 0
    for place in places:
        here, count_here = _shards_at(place, split)
        found += here
        clips += count_here
    if not clips:
        raise TrainError(f"data: no clips of the split {split!r} in {', '.join(places)}")
    return Shards(tuple(found), clips)


def _shards_at(place: str, split: str) -> tuple[list[Shard], int]:
    if place.endswith(".tar"):
        folder, _, name = place.rpartition("/")
        shard = Shard(folder or ".", name)
        return [shard], _clips_in(shard)
    store = Store(place)
    files = store.list()
    if not files:
        raise TrainError(f"data: there is nothing at {place}; give an export (autorecap export), or tar shards")
    if "manifest.json" in files:
        manifest = json.loads(store.read("manifest.json"))
        sizes = {name: file["samples"] for name, file in manifest["files"].items() if "samples" in file}
        names = [name for name in sorted(sizes) if name.startswith(f"{split}/")]
        return [Shard(place, name) for name in names], sum(sizes[name] for name in names)
    names = [name for name in files if name.endswith(".tar") and "/" not in name]
    known = json.loads(store.read("sizes.json")) if "sizes.json" in files else {}
    shards = [Shard(place, name) for name in names]
    return shards, sum(int(known[shard.name]) if shard.name in known else _clips_in(shard) for shard in shards)


def _clips_in(shard: Shard) -> int:
    """By the tar's headers; the sounds themselves are passed over."""
    try:
        with Store(shard.folder).open(shard.name) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            return sum(1 for member in tar if member.name.endswith(".json"))
    except FileNotFoundError:
        raise TrainError(f"data: there is no {shard}") from None
    except tarfile.TarError as error:
        raise TrainError(f"data: {shard} is no tar file ({error})") from error


def stream(shards: Shards, *, seed: int, reader: int, readers: int, shuffle_clips: int) -> Iterator[Sample]:
    """Samples without end, as webdataset groups them: `__key__`, `json` (bytes), the sound's extension (bytes)."""
    if shards.clips < readers:
        raise TrainError(f"data: {shards.clips} clips are too few for {readers} readers; set data.loader_workers: 0")
    for number in count():
        yield from _pass(shards, f"{seed}/{number}", reader, readers, shuffle_clips)


def one_pass(shards: Shards) -> Iterator[Sample]:
    """Every sample once, in the shards' own order."""
    return _samples(shards.shards)


def _pass(shards: Shards, seed: str, reader: int, readers: int, shuffle_clips: int) -> Iterator[Sample]:
    from webdataset.filters import shuffle

    order = list(shards.shards)
    random.Random(seed).shuffle(order)
    by_shard = len(order) >= readers
    mine = _samples(order[reader::readers]) if by_shard else islice(_samples(order), reader, None, readers)
    rng = random.Random(f"{seed}/{reader}")
    yield from shuffle(shuffle_clips, initial=shuffle_clips, rng=rng)(mine)


def _samples(shards: Iterable[Shard]) -> Iterator[Sample]:
    # Imported here: webdataset takes a moment, and only a training needs it. The files are opened by us: webdataset's
    # own opener would run what stands behind "pipe:".
    from webdataset.tariterators import group_by_keys, tar_file_expander

    for shard in shards:
        try:
            with Store(shard.folder).open(shard.name) as file:
                yield from group_by_keys(tar_file_expander([{"url": str(shard), "stream": file}]))
        except FileNotFoundError:
            raise TrainError(f"data: there is no {shard}") from None
        except (tarfile.TarError, OSError, EOFError) as error:
            raise TrainError(
                f"data: {shard} cannot be read ({error}); autorecap verify says what is damaged"
            ) from error
