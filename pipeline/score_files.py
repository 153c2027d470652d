"""Score files against texts, without a corpus: every file is heard once, whatever its length, rate and channels.

    for heard in hear_files(scorer, find_files(["recordings/", "*.mp3"])):
        scores = heard.vector @ scorer.embed_text(["a dog barks"]).T

Up to two minutes are heard as a clip of a corpus is. A longer file is decoded block by block and heard window by
window, end to end, its embedding the normalised mean of theirs: a day of audio needs no more memory than two minutes.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from audio.faults import DecodeError
from pipeline.media_files import FilesError

if TYPE_CHECKING:
    from audio.decode import AudioSource
    from scorer.load import Scorer

BLOCK_MS = 120_000

#: Windows of a long file that are embedded at a time.
_WINDOWS_AT_ONCE = 16

#: Short files are embedded together until they add up to this: a GPU wants batches.
_TOGETHER_S = 120.0
_TOGETHER_FILES = 64


@dataclass(frozen=True)
class Heard:
    """One file: its length and embedding, or the reason why it has none (`undecodable`, `no_audio`, ...)."""

    file: str
    duration_s: float = 0.0
    vector: np.ndarray | None = None  # (D,) float32 of unit length
    reason: str | None = None
    detail: str = ""


@dataclass(frozen=True)
class Captioned:
    """A line of a captions file."""

    file: str
    caption: str


def read_captions(path: str) -> Iterator[Captioned]:
    """The lines of a CSV (with a header) or JSONL file that has `file` and `caption`.

    A file's name is taken as it is, or from the captions' own folder. Raises FilesError, with the line's number.
    """
    rows = _jsonl_rows if Path(path).suffix.lower() in (".jsonl", ".ndjson", ".json") else _csv_rows
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as lines:
            for number, row in rows(path, lines):
                file, caption = row.get("file"), row.get("caption")
                if not (isinstance(file, str) and file and isinstance(caption, str) and caption.strip()):
                    raise FilesError(f"{path}, line {number}: a line needs `file` and `caption`, and neither empty")
                beside = Path(path).parent / file
                yield Captioned(str(beside) if not Path(file).exists() and beside.exists() else file, caption)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FilesError(f"{path} cannot be read: {error}") from error


def _csv_rows(path: str, lines: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(lines)
    if not {"file", "caption"} <= set(reader.fieldnames or ()):
        raise FilesError(f"{path} has no columns `file` and `caption`; it has {', '.join(reader.fieldnames or ())}")
    for row in reader:
        yield reader.line_num, row


def _jsonl_rows(path: str, lines: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise FilesError(f"{path}, line {number} is not JSON: {error}") from error
        yield number, row if isinstance(row, dict) else {}


def hear_files(scorer: Scorer, files: Iterable[str]) -> Iterator[Heard]:
    """Each file's embedding, in order."""
    waiting: list[tuple[str, np.ndarray]] = []
    for file in files:
        if (
            sum(wave.size for _, wave in waiting) > _TOGETHER_S * scorer.sample_rate_hz
            or len(waiting) > _TOGETHER_FILES
        ):
            yield from _together(scorer, waiting)
            waiting = []
        heard = _open_and_hear(scorer, file)
        if isinstance(heard, Heard):
            yield from _together(scorer, waiting)
            waiting = []
            yield heard
        else:
            waiting.append((file, heard))
    yield from _together(scorer, waiting)


def _together(scorer: Scorer, waiting: Sequence[tuple[str, np.ndarray]]) -> Iterator[Heard]:
    if waiting:
        vectors = scorer.embed_audio([wave for _, wave in waiting])
        for (file, wave), vector in zip(waiting, vectors, strict=True):
            yield Heard(file, wave.size / scorer.sample_rate_hz, vector)


def _open_and_hear(scorer: Scorer, file: str) -> Heard | np.ndarray:
    """A short file's wave, to be embedded with others; a long file's embedding; or what is wrong with it."""
    from audio.decode import AudioSource

    rate = scorer.sample_rate_hz
    try:
        with AudioSource(file) as source:
            blocks = _blocks(source, rate)
            first = next(blocks)
            if first.size < BLOCK_MS * rate // 1000:
                return first
            return _hear_long(scorer, file, _chained(first, blocks))
    except DecodeError as error:
        return Heard(file, reason=error.reason, detail=str(error))
    except OSError as error:
        return Heard(file, reason="unreadable", detail=error.strerror or str(error))


def _hear_long(scorer: Scorer, file: str, blocks: Iterator[np.ndarray]) -> Heard:
    samples, waiting = 0, []
    total = np.zeros(scorer.embedding_dim, dtype=np.float64)

    def counted() -> Iterator[np.ndarray]:
        nonlocal samples
        for block in blocks:
            samples += block.size
            yield block

    for window in _windows(counted(), round(scorer.window_s * scorer.sample_rate_hz)):
        waiting.append(window)
        if len(waiting) == _WINDOWS_AT_ONCE:
            total += scorer.embed_audio(waiting).sum(axis=0, dtype=np.float64)
            waiting = []
    if waiting:
        total += scorer.embed_audio(waiting).sum(axis=0, dtype=np.float64)
    vector = (total / max(float(np.linalg.norm(total)), 1e-12)).astype(np.float32)
    return Heard(file, samples / scorer.sample_rate_hz, vector)


def _blocks(source: AudioSource, rate: int) -> Iterator[np.ndarray]:
    """The file's mono wave in blocks of BLOCK_MS, at least one; the last is shorter. DecodeError if nothing decodes."""
    at = 0
    while True:
        try:
            wave = source.segment(at, at + BLOCK_MS, rate)
        except DecodeError:
            if at == 0:
                raise
            return  # the file ends before its header says so
        if at == 0 and wave.size == 0:
            raise DecodeError("empty_file", "the audio stream holds no samples")
        if wave.size:
            yield wave
        at += BLOCK_MS
        if wave.size < BLOCK_MS * rate // 1000 and (source.declared_ms is None or at >= source.declared_ms):
            return


def _chained(first: np.ndarray, rest: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    yield first
    yield from rest


def _windows(blocks: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Windows of `size` samples end to end; the last one reaches back, so that all is heard."""
    before = held = np.zeros(0, dtype=np.float32)
    for block in blocks:
        held = np.concatenate([held, block])
        while held.size >= size:
            before, held = held[:size], held[size:]
            yield before
    if held.size:
        yield np.concatenate([before, held])[-size:]
