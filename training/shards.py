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
import re
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import count, islice
from typing import Any

from corpus.store import Store
from training.errors import TrainError

log = logging.getLogger(__name__)

Sample = dict[str, Any]

#: Places that are looked at together.
_AT_ONCE = 8
_BRACES = re.compile(r"\{\d+\.\.\d+\}")


@dataclass(frozen=True)
class Shard:
    folder: str  # or an fsspec URL
    name: str  # path in it
    clips: int

    def __str__(self) -> str:
        return f"{self.folder}/{self.name}"


@dataclass(frozen=True)
class Shards:
    shards: tuple[Shard, ...]

    @property
    def clips(self) -> int:
        return sum(shard.clips for shard in self.shards)


def find_shards(places: Sequence[str], split: str) -> Shards:
    """The shards of exports (their `split`), folders of tar files, and tar files; TrainError when there are none.

    A place may hold braces, `shards/{00000..00099}.tar`, as webdataset writes many names.
    """
    named = [name for place in places for name in _expanded(place)]
    with ThreadPoolExecutor(_AT_ONCE) as pool:  # a shard behind a network is counted in a second or so
        by_place = list(pool.map(lambda place: _shards_at(place, split), named))
    found = Shards(tuple(shard for shards in by_place for shard in shards))
    if not found.clips:
        raise TrainError(f"data: no clips of the split {split!r} in {', '.join(places)}")
    return found


def _expanded(place: str) -> list[str]:
    if not _BRACES.search(place):
        return [place]
    from webdataset.shardlists import expand_urls

    return list(expand_urls(place))


def _shards_at(place: str, split: str) -> list[Shard]:
    if place.endswith(".tar"):
        folder, _, name = place.rpartition("/")
        return [_counted(folder or ".", name)]
    store = Store(place)
    if store.exists("manifest.json"):
        manifest = json.loads(store.read("manifest.json"))
        sizes = {name: file["samples"] for name, file in manifest["files"].items() if "samples" in file}
        return [Shard(place, name, sizes[name]) for name in sorted(sizes) if name.startswith(f"{split}/")]
    files = store.list()
    if not files:
        raise TrainError(f"data: there is nothing at {place}; give an export (autorecap export), or tar shards")
    known = json.loads(store.read("sizes.json")) if "sizes.json" in files else {}
    names = [name for name in files if name.endswith(".tar") and "/" not in name]
    return [Shard(place, name, int(known[name])) if name in known else _counted(place, name) for name in names]


def _counted(folder: str, name: str) -> Shard:
    """A shard with its clips counted by the tar's headers; the sounds themselves are passed over where that can be."""
    shard = Shard(folder, name, 0)
    try:
        with Store(folder).open(name) as file:
            mode: Any = "r:" if file.seekable() else "r|"
            with tarfile.open(fileobj=file, mode=mode) as tar:
                clips = sum(1 for member in tar if member.name.endswith(".json"))
    except FileNotFoundError:
        raise TrainError(f"data: there is no {shard}") from None
    except tarfile.TarError as error:
        raise TrainError(f"data: {shard} is no tar file ({error})") from error
    return replace(shard, clips=clips)


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
