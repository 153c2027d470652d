"""Caption files, without a corpus: any length, rate and number of channels, only what is heard is decoded.

    for told in tell_files(open_teller(), find_files(["recordings/", "*.mp3"])):
        print(told.file, told.caption, told.score)

A file is heard by its first ten seconds; or window by window, each with a caption of its own, all joined in one, or
the one that the captioner finds likeliest. A day of audio needs no more memory than a minute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from audio.faults import DecodeError

if TYPE_CHECKING:
    from audio.decode import AudioSource
    from captioner.load import Metadata
    from pipeline.teller import Teller, Waves

Windows = Literal["first", "every", "join", "likeliest"]

WINDOW_MS = 10_000
#: A file shorter than this (the reference refuses 100 samples and fewer) holds nothing that has a name.
SHORTEST_MS = 20
#: A rest shorter than this, after the last whole window, is rounding.
_REST_MS = 200
#: A file may end so much before its header says so: headers of lossy formats are estimates.
_SLACK_MS = 1000


@dataclass(frozen=True)
class Told:
    """A stretch of a file and its caption, or the reason why it has none."""

    file: str
    start_ms: int = 0
    end_ms: int = 0
    caption: str | None = None
    logprob: float | None = None
    score: float | None = None
    vector: np.ndarray | None = None  # (D,) float32 of unit length, where there is a scorer
    reason: str | None = None
    detail: str = ""
    #: A silent window of a file that may be heard elsewhere: told, no fault.
    passed_over: bool = False

    @property
    def failed(self) -> bool:
        return self.reason is not None and not self.passed_over


@dataclass(frozen=True)
class _Heard:
    told: Told
    waves: Waves


def no_metadata(_: str) -> Metadata:
    from captioner.load import Metadata

    return Metadata()


def tell_files(
    teller: Teller,
    files: Iterable[str],
    metadata_of: Callable[[str], Metadata] = no_metadata,
    windows: Windows = "first",
) -> Iterator[Told]:
    """Captions in the order of the files, the first as soon as it is there.

    `windows`: "first": one a file, of its first ten seconds. "every": one for each ten seconds. "join", "likeliest":
    one a file, from those of all windows.
    """
    if windows == "first":
        heard = (part for file in files for part in _hear(file, teller, every=False))
        for told in _in_batches(teller, heard, metadata_of):
            yield replace(told, passed_over=False)
        return
    for file in files:
        of_file = _in_batches(teller, _hear(file, teller, every=True), metadata_of)
        if windows == "every":
            yield from _with_silence_told(of_file)
        else:
            yield _one(teller, list(of_file), windows)


def _in_batches(
    teller: Teller, parts: Iterator[_Heard | Told], metadata_of: Callable[[str], Metadata]
) -> Iterator[Told]:
    """The first window alone: somebody is waiting for it. Faults keep their place in the order."""
    waiting: list[_Heard] = []
    together = 1
    for part in parts:
        if isinstance(part, Told):
            yield from _tell(teller, waiting, metadata_of)
            waiting = []
            yield part
            continue
        waiting.append(part)
        if len(waiting) == together:
            yield from _tell(teller, waiting, metadata_of)
            waiting, together = [], teller.clips_at_once
    yield from _tell(teller, waiting, metadata_of)


def _tell(teller: Teller, heard: Sequence[_Heard], metadata_of: Callable[[str], Metadata]) -> Iterator[Told]:
    if not heard:
        return
    metadata = [metadata_of(each.told.file) for each in heard]
    for each, (said, score, vector) in zip(heard, teller.tell([e.waves for e in heard], metadata), strict=True):
        if said.text:
            yield replace(each.told, caption=said.text, logprob=said.logprob, score=score, vector=vector)
        else:
            yield replace(each.told, reason="no_caption", detail="the captioner said nothing")


def _hear(file: str, teller: Teller, *, every: bool) -> Iterator[_Heard | Told]:
    """The windows that can be heard, and what is wrong with the others."""
    from audio.decode import AudioSource

    try:
        with AudioSource(file) as source:
            for heard in _windows_of(file, source, teller.rates_hz, every=every):
                yield heard if isinstance(heard, Told) else _checked(heard, teller, source)
    except DecodeError as error:
        yield Told(file, reason=error.reason, detail=str(error))
    except OSError as error:
        yield Told(file, reason="unreadable", detail=error.strerror or str(error))


def _windows_of(file: str, source: AudioSource, rates: Sequence[int], *, every: bool) -> Iterator[_Heard | Told]:
    """Windows of ten seconds end to end; the last one reaches back, so that all is heard. In the end, a file that is
    shorter than it says is told, and one window of it is not enough."""
    start_ms = 0
    while True:
        try:
            waves = _span(source, rates, start_ms, start_ms + WINDOW_MS)
        except DecodeError:
            if start_ms == 0:
                raise
            waves = {rate: np.zeros(0, dtype=np.float32) for rate in rates}
        end_ms = start_ms + round(waves[rates[0]].size * 1000 / rates[0])
        if start_ms == 0 and end_ms == 0:
            raise DecodeError("empty_file", "the audio stream holds no samples")
        whole = end_ms - start_ms >= WINDOW_MS
        if not every and not whole and _is_truncated(source, end_ms):
            break
        if start_ms == 0 or end_ms - start_ms > _REST_MS:
            first_ms = start_ms if start_ms == 0 or whole else max(end_ms - WINDOW_MS, 0)
            again = waves if first_ms == start_ms else _span(source, rates, first_ms, end_ms)
            yield _Heard(Told(file, first_ms, end_ms), again)
        if not every:
            return
        if not whole:
            break
        start_ms = end_ms
    if _is_truncated(source, end_ms):
        declared, found = (source.declared_ms or 0) / 1000, end_ms / 1000
        yield Told(
            file, 0, end_ms, reason="truncated", detail=f"declared are {declared:.1f} s, there are {found:.1f} s"
        )


def _is_truncated(source: AudioSource, end_ms: int) -> bool:
    return end_ms < (source.declared_ms or 0) - _SLACK_MS


def _span(source: AudioSource, rates: Sequence[int], start_ms: int, end_ms: int) -> Waves:
    return {rate: source.segment(start_ms, end_ms, rate) for rate in rates}


def _checked(heard: _Heard, teller: Teller, source: AudioSource) -> _Heard | Told:
    """What the decoder gives is sound of some length; reasons are those of a corpus."""
    from stages.models import SILENT_PEAK

    told, wave = heard.told, heard.waves[teller.captioner.sample_rate_hz]
    unreal, source.not_finite = source.not_finite, 0
    if unreal:
        return replace(told, reason="bad_samples", detail="it holds samples that are not finite numbers")
    if told.end_ms - told.start_ms < SHORTEST_MS or wave.size < teller.captioner.min_samples:
        length_ms = told.end_ms - told.start_ms
        return replace(told, reason="too_short", detail=f"{length_ms} ms of sound; {SHORTEST_MS} ms are needed")
    if float(np.abs(wave).max()) < SILENT_PEAK:
        seconds = (told.end_ms - told.start_ms) / 1000
        return replace(told, reason="silent", detail=f"{seconds:.1f} s of digital silence", passed_over=True)
    return heard


def _with_silence_told(of_file: Iterable[Told]) -> Iterator[Told]:
    """Every window as it is; a file with nothing but silence in it is a fault of its own."""
    silent, others = None, False
    for told in of_file:
        silent, others = (told if told.passed_over else silent), others or not told.passed_over
        yield told
    if silent is not None and not others:
        yield replace(silent, start_ms=0, detail="no window of the file has sound", passed_over=False)


def _one(teller: Teller, of_file: list[Told], windows: Windows) -> Told:
    """The file's one line from those of its windows: the first fault, or a caption."""
    faults = [told for told in of_file if told.failed]
    captioned = [told for told in of_file if told.caption is not None]
    if faults:
        return faults[0]
    if not captioned:
        return replace(of_file[0], end_ms=of_file[-1].end_ms, passed_over=False)
    if windows == "likeliest":
        return max(captioned, key=lambda told: told.logprob or 0.0)
    return captioned[0] if len(captioned) == 1 else _joined(teller, of_file, captioned)


def _joined(teller: Teller, of_file: list[Told], captioned: list[Told]) -> Told:
    """All windows' captions in one, the same one in a row said once; scored with the mean of their embeddings."""
    from captioner.load import Captioned, in_one

    text, logprob = in_one([Captioned(str(told.caption), told.logprob or 0.0) for told in captioned])
    score = None
    vectors = [told.vector for told in captioned if told.vector is not None]
    if vectors:
        mean = np.mean(vectors, axis=0)
        score = teller.score(text, mean / max(float(np.linalg.norm(mean)), 1e-12))
    return Told(captioned[0].file, 0, of_file[-1].end_ms, text, logprob, score)
