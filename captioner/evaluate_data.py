"""What `autocap evaluate` hears: a table of files and captions, or the shards of an export.

A table is a CSV with a header or JSON lines. Columns (others are passed over):

    file | file_name                  the sound; or youtube_id with start_time, as AudioCaps lists its clips
    caption | captions | caption_1 … caption_9   what people say of it: a text, in JSON lines also a list of texts
    title, description, video_caption what the source says of itself

Several rows of one file are one clip with several references. Clotho's and AudioCaps' own tables are such tables.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audio.decode import AudioSource, DecodeError
from captioner.evaluate import Clip, EvaluateError, Unheard
from captioner.load import Metadata

#: Of a longer file the beginning is heard.
HEARD_MS = 120_000

_FILE = ("file", "file_name")
_CAPTION = ("caption", "captions", *(f"caption_{k}" for k in range(1, 10)))


@dataclass(frozen=True)
class Row:
    """One clip of a table. `path` is None where no sound was found for it."""

    name: str
    path: Path | None
    references: tuple[str, ...]
    metadata: Metadata


def is_table(place: str) -> bool:
    return Path(place).suffix.lower() in (".csv", ".tsv", ".jsonl", ".ndjson", ".json")


def read_table(path: str, audio: str | None = None, keys: Sequence[str] = Metadata._fields) -> list[Row]:
    """The clips of a table, in the order of their first rows; EvaluateError names the line that is wrong.

    A file is looked for in the folder `audio`, else as it is named, else beside the table. `keys`: the metadata used.
    """
    find = _Finder(path, audio)
    references: dict[str, list[str]] = {}
    metadata: dict[str, Metadata] = {}
    names: dict[str, tuple[str, Path | None]] = {}
    for number, line in _lines(path):
        found = find(line)
        texts = list(_captions(line))
        if found is None or not texts:
            raise EvaluateError(
                f"{path}, line {number}: a line needs a sound ({', '.join((*_FILE, 'youtube_id'))}) and a caption "
                f"({', '.join(_CAPTION[:3])}, …), and neither empty"
            )
        key = found[0]
        names.setdefault(key, found)
        references.setdefault(key, []).extend(texts)
        metadata.setdefault(key, _metadata(line, keys))
    if not names:
        raise EvaluateError(f"{path} lists no clip")
    return [Row(*names[key], tuple(references[key]), metadata[key]) for key in names]


def hear_rows(rows: Iterable[Row]) -> Iterator[Clip | Unheard]:
    """Each row's sound, decoded one by one; the first HEARD_MS of it."""
    for row in rows:
        if row.path is None:
            yield Unheard(row.name, "unreadable", "there is no such file")
            continue
        try:
            with AudioSource(row.path) as source:
                wave = source.segment(0, HEARD_MS)
                if source.not_finite:
                    yield Unheard(row.name, "bad_samples", f"{source.not_finite} samples are no finite numbers")
                    continue
                yield Clip(row.name, wave, source.sample_rate_hz, row.references, row.metadata)
        except DecodeError as error:
            yield Unheard(row.name, error.reason, str(error))
        except OSError as error:
            yield Unheard(row.name, "unreadable", error.strerror or str(error))


def shards_at(places: Sequence[str], split: str) -> tuple[Any, int]:
    """The shards of exports, folders of tars, or tars, and how many clips they hold; TrainError when there are none."""
    from training.shards import find_shards

    shards = find_shards(places, split)
    return shards, shards.clips


def hear_shards(shards: Any, keys: Sequence[str] = Metadata._fields) -> Iterator[Clip | Unheard]:
    """Every sample of what `shards_at` found; one without a caption is passed on as unheard."""
    from audio.codec import decode_bytes
    from captioner.autocap.train_data import captions_of, metadata_of
    from training.samples import Unusable, sound_of
    from training.shards import one_pass

    for sample in one_pass(shards):
        name = f"{sample['__url__']}:{sample['__key__']}"
        references = captions_of(sample)
        if not references:
            yield Unheard(name, "no_caption", "its record holds no caption to compare with")
            continue
        try:
            wave, rate = decode_bytes(sound_of(sample))
        except Unusable as error:
            yield Unheard(name, error.reason, "a sample has one member with sound")
        except DecodeError as error:
            yield Unheard(name, error.reason, str(error))
        else:
            told = metadata_of(sample)
            yield Clip(name, wave, rate, references, _metadata(told._asdict(), keys))


class _Finder:
    """Where the sound of a table's line lies."""

    def __init__(self, table: str, audio: str | None) -> None:
        self._beside, self._audio = Path(table).parent, None if audio is None else Path(audio)
        if self._audio is not None and not self._audio.is_dir():
            raise EvaluateError(f"{audio} is no folder")
        self._stems: dict[str, Path] | None = None

    def __call__(self, line: Mapping[str, Any]) -> tuple[str, Path | None] | None:
        """(name, path or None); None when the line names no sound."""
        named = next((line[key] for key in _FILE if isinstance(line.get(key), str) and line[key]), None)
        if named is not None:
            places = [Path(named), self._beside / named] if self._audio is None else [self._audio / named]
            return named, next((place for place in places if is_there(place)), None)
        video, start = line.get("youtube_id"), line.get("start_time")
        if not (isinstance(video, str) and video):
            return None
        stems = [video, f"Y{video}"] if start in (None, "") else [f"{video}_{start}", f"Y{video}_{start}", video]
        folder = self._by_stem()
        return stems[0], next((folder[stem] for stem in (*stems, f"Y{video}") if stem in folder), None)

    def _by_stem(self) -> dict[str, Path]:
        """AudioCaps names no files: everybody names them by the video's id."""
        if self._stems is None:
            files = sorted(path for path in (self._audio or self._beside).iterdir() if path.is_file())
            self._stems = {path.stem: path for path in files if not is_table(path.name)}
        return self._stems


def is_there(path: Path) -> bool:
    """Also for names that no file system takes: a table is a stranger's."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _captions(line: Mapping[str, Any]) -> Iterator[str]:
    for key in _CAPTION:
        told = line.get(key)
        for text in told if isinstance(told, list) else [told]:
            if isinstance(text, str) and text.strip():
                yield text.strip()


def _metadata(told: Mapping[str, Any], keys: Sequence[str]) -> Metadata:
    return Metadata(**{key: text if isinstance(text := told.get(key), str) else "" for key in keys})


def _lines(path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    suffix = Path(path).suffix.lower()
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as lines:
            if suffix in (".csv", ".tsv"):
                reader = csv.DictReader(lines, delimiter="\t" if suffix == ".tsv" else ",")
                for row in reader:
                    yield reader.line_num, row
                return
            for number, text in enumerate(lines, 1):
                if text.strip():
                    yield number, _object(path, number, text)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise EvaluateError(f"{path} cannot be read: {error}") from error


def _object(path: str, number: int, text: str) -> dict[str, Any]:
    try:
        row = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise EvaluateError(f"{path}, line {number} is not JSON: {error}") from error
    if not isinstance(row, dict):
        raise EvaluateError(f"{path}, line {number}: a line is one JSON object with `file` and `caption`")
    return row
