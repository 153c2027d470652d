"""The sounds of one side of an evaluation: a folder of files, or shards. Named first, heard one by one later.

A folder's sounds are named by their paths in it without the suffix, a shard's by its keys: by these names sounds are
paired. Captions that lie beside them are read along: `NAME.json` as `genau generate` writes it, a shard's record.
"""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from audio.codec import decode_bytes
from audio.decode import AudioSource
from audio.faults import DecodeError
from corpus.store import Store
from generation.errors import GenerationError
from generation.evaluation.words import some_names
from training.shards import Shards, find_shards, one_pass

SUFFIXES = frozenset((".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".aac"))
#: Of a longer file the beginning is heard.
HEARD_MS = 120_000
#: Where a record has what a sound was made of, or what is said of it; the first that is there.
CAPTION_KEYS = ("prompt", "caption", "text", "captions")


@dataclass(frozen=True)
class Sound:
    """One sound, decoded: mono float32 at its own rate, finite, not empty."""

    name: str
    wave: np.ndarray
    sample_rate_hz: int
    captions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unread:
    """A sound that cannot be measured: a short word for why (`undecodable`, `bad_samples`, ...), and a sentence."""

    name: str
    reason: str
    detail: str


class Sounds(Protocol):
    """One side's sounds. `names` are sorted, and there is at least one."""

    place: str
    names: list[str]

    def read(self, names: Collection[str]) -> Iterator[Sound | Unread]:
        """These sounds, each once, as they lie there."""
        ...


def find_sounds(place: str, split: str) -> Sounds:
    """What lies at `place`: a folder of sounds, an export (its `split`), a folder of tars, a tar.

    GenerationError when there is nothing, or two sounds have one name; TrainError for shards that cannot be read.
    """
    folder = Path(place)
    if place.endswith(".tar") or "://" in place or (folder / "manifest.json").is_file() or any(folder.glob("*.tar")):
        return ShardSounds(place, split)
    return FolderSounds(place)


class FolderSounds:
    """See Sounds."""

    def __init__(self, place: str) -> None:
        self.place, self._folder = place, Path(place)
        if not self._folder.is_dir():
            raise GenerationError(f"{place} is no folder of sounds, and no shards")
        files = sorted(path for path in self._folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        self._files = {self._name(path): path for path in files if not path.name.startswith(".")}
        self.names = sorted(self._files)
        _refuse_twins(place, Counter(self._name(path) for path in files))
        if not self.names:
            raise GenerationError(f"{place} holds no sound ({', '.join(sorted(SUFFIXES))}), and no shards")

    def read(self, names: Collection[str]) -> Iterator[Sound | Unread]:
        for name in self.names:
            if name in names:
                yield self._read(name)

    def _read(self, name: str) -> Sound | Unread:
        path = self._files[name]
        try:
            with AudioSource(path) as source:
                wave = source.segment(0, HEARD_MS)
                if source.not_finite:
                    return Unread(name, "bad_samples", f"{source.not_finite} samples are no finite numbers")
                rate = source.sample_rate_hz
        except DecodeError as error:
            return Unread(name, error.reason, str(error))
        except OSError as error:
            return Unread(name, "unreadable", error.strerror or str(error))
        return _sound(name, wave, rate, self._record(path))

    def _name(self, path: Path) -> str:
        return path.relative_to(self._folder).with_suffix("").as_posix()

    @staticmethod
    def _record(path: Path) -> Any:
        try:
            return json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return None


class ShardSounds:
    """See Sounds. The names are read off the tars' headers; the sounds are passed over until `read`."""

    def __init__(self, place: str, split: str) -> None:
        self.place = place
        self._shards = find_shards([place], split)
        keys = list(_keys(self._shards))
        _refuse_twins(place, Counter(keys))
        self.names = sorted(keys)

    def read(self, names: Collection[str]) -> Iterator[Sound | Unread]:
        for sample in one_pass(self._shards):
            if sample["__key__"] in names:
                yield self._read(sample)

    @staticmethod
    def _read(sample: Mapping[str, Any]) -> Sound | Unread:
        name = str(sample["__key__"])
        sounds = [key for key in sample if f".{key}" in SUFFIXES]
        if len(sounds) != 1:
            return Unread(name, "no_sound" if not sounds else "several_sounds", "a sample has one member with sound")
        try:
            wave, rate = decode_bytes(bytes(sample[sounds[0]]))
        except DecodeError as error:
            return Unread(name, error.reason, str(error))
        try:
            record = json.loads(sample.get("json", b"null"))
        except (ValueError, RecursionError):
            record = None
        return _sound(name, wave[: HEARD_MS * rate // 1000], rate, record)


def _keys(shards: Shards) -> Iterator[str]:
    """As webdataset groups members: the path up to the first dot of the file's name."""
    for shard in shards.shards:
        try:
            with Store(shard.folder).open(shard.name) as file, tarfile.open(fileobj=file, mode="r:") as tar:
                keys = dict.fromkeys(_key(member.name) for member in tar if member.isfile())
        except (tarfile.TarError, OSError, EOFError) as error:
            raise GenerationError(f"{shard} cannot be read ({error}); autorecap verify says what is damaged") from error
        yield from keys


def _key(name: str) -> str:
    folder, slash, file = name.rpartition("/")
    return folder + slash + file.partition(".")[0]


def _refuse_twins(place: str, names: Counter[str]) -> None:
    twins = [name for name, count in names.items() if count > 1]
    if twins:
        raise GenerationError(f"{place}: several sounds are named {some_names(twins)}: a name stands for one sound")


def _sound(name: str, wave: np.ndarray, rate: int, record: Any) -> Sound | Unread:
    if wave.size == 0:
        return Unread(name, "empty_file", "it holds no samples")
    return Sound(name, wave, rate, captions_in(record))


def captions_in(record: Any) -> tuple[str, ...]:
    """The texts under the first of CAPTION_KEYS that a record has: one, or a list."""
    told = next((record[key] for key in CAPTION_KEYS if record.get(key)), None) if isinstance(record, dict) else None
    many = told if isinstance(told, list) else [told]
    return tuple(text.strip() for text in many if isinstance(text, str) and text.strip())
