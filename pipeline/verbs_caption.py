"""The verbs `caption` and `autocap demo`: sentences for files. Results to stdout, faults and progress to stderr."""

from __future__ import annotations

import csv
import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any

from pipeline.shown import clock, one_line
from pipeline.verbs import say

if TYPE_CHECKING:
    from captioner.load import CaptionerOptions, Metadata
    from pipeline.caption_files import Told, Windows
    from pipeline.teller import Teller


def caption_verb(
    files: Sequence[str],
    *,
    title: str | None,
    description: str | None,
    video_caption: str | None,
    metadata: str | None,
    windows: Windows,
    beam: int,
    model: str,
    score: bool | None,
    device: str,
    threads: int,
    format_name: str,
    autocap: Mapping[str, Any],
) -> int:
    """Exit code 1 when a file could not be heard. `autocap`: see captioner_options."""
    from captioner.load import Metadata
    from pipeline.caption_files import tell_files
    from pipeline.media_files import FilesError, find_files
    from pipeline.teller import open_teller

    began_s = perf_counter()
    if not files:
        raise FilesError("give FILES: audio or video files, folders, patterns")
    found = find_files(files)
    metadata_of = _metadata_of(metadata, Metadata(title or "", description or "", video_caption or ""), found)
    teller = open_teller(model, device, threads, options=captioner_options(autocap), score=score, beams=beam)
    printer = _PRINTERS[format_name](teller)
    pace = _Pace(began_s)
    with _progress(len(found)) as on_file:
        for told in tell_files(teller, found, metadata_of, windows):
            if told.failed:
                sys.stderr.write(f"{one_line(told.file)}: {told.reason}: {one_line(told.detail)}\n")
            printer.show(told)
            sys.stdout.flush()
            pace.count(told)
            on_file(told.file)
    sys.stderr.write(f"{pace}\n")
    return 1 if pace.lost else 0


def demo_verb(
    host: str,
    port: int,
    *,
    beam: int,
    model: str,
    score: bool | None,
    device: str,
    threads: int,
    autocap: Mapping[str, Any],
) -> int:
    """Serves the page until it is stopped."""
    from pipeline.caption_page import make_page
    from pipeline.page_server import listen, require_gradio, serve_until_stopped
    from pipeline.teller import open_teller

    require_gradio()
    listening = listen(host, port)
    options = captioner_options(autocap)
    teller = open_teller(model, device, threads, options=options, score=score, beams=beam)
    return serve_until_stopped(lambda: make_page(teller), host, listening)


def captioner_options(given: Mapping[str, Any]) -> CaptionerOptions | None:
    """What was given of CaptionerOptions by its names; `clap_tokenizer` is one of its CLAP's. None: nothing was."""
    from captioner.load import CaptionerOptions
    from scorer.load import ClapOptions

    own = {name: value for name, value in given.items() if value is not None}
    if "clap_tokenizer" in own:
        own["clap_options"] = ClapOptions(tokenizer=own.pop("clap_tokenizer"))
    if "audio_tokens" in own:
        own["audio_tokens"] = int(own["audio_tokens"])
    return CaptionerOptions(**own) if own else None


def _metadata_of(path: str | None, general: Metadata, files: Sequence[str]) -> Callable[[str], Metadata]:
    """The metadata of each file; names in the YAML that are of no file are told."""
    if path is None:
        return lambda _: general
    from pipeline.caption_metadata import read_metadata

    entries = read_metadata(path, general)
    unknown = entries.unknown(files)
    if unknown:
        some = ", ".join(one_line(name, 60) for name in unknown[:5]) + (", …" if len(unknown) > 5 else "")
        sys.stderr.write(f"{one_line(path)}: {len(unknown)} of its names are of no file given: {some}\n")
    return entries.of


class _Pace:
    """How fast it went: the first caption, and what followed."""

    def __init__(self, began_s: float) -> None:
        self._began_s = began_s
        self._first_s: float | None = None
        self._last_s = began_s
        self._captions = 0
        self.lost: set[str] = set()

    def count(self, told: Told) -> None:
        if told.failed:
            self.lost.add(told.file)
        if told.caption is not None:
            self._captions += 1
            self._last_s = perf_counter()
            self._first_s = self._last_s if self._first_s is None else self._first_s

    def __str__(self) -> str:
        parts = [f"{self._captions} caption{'' if self._captions == 1 else 's'}"]
        if self._first_s is not None:
            parts.append(f"the first after {self._first_s - self._began_s:.1f} s")
            if self._captions > 1:
                rate = (self._captions - 1) / max(self._last_s - self._first_s, 1e-9)
                parts.append(f"then {rate:.1f} clips/s")
        if self.lost:
            parts.append(f"{len(self.lost)} file{'' if len(self.lost) == 1 else 's'} not heard")
        return ", ".join(parts)


@contextmanager
def _progress(files: int) -> Iterator[Callable[[str], None]]:
    """On a terminal a bar of the files; yields what is called with the file of each line."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("caption"), BarColumn(), MofNCompleteColumn(), TextColumn("files"), TimeRemainingColumn())
    # Rich takes stdout over for the bar's sake: only where it is the terminal, never a file or a pipe.
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, redirect_stdout=sys.stdout.isatty()) as bar:
        task = bar.add_task("", total=files)
        seen: set[str] = set()

        def on_file(file: str) -> None:
            seen.add(file)
            bar.update(task, completed=len(seen))

        yield on_file


class Printer(ABC):
    """One way to print captions. Nothing but the line on stderr for a file that failed, if not said otherwise."""

    def __init__(self, teller: Teller) -> None:
        from captioner.load import model_name
        from scorer.load import model_name as scorer_name

        self.model = model_name(teller.captioner)
        self.clap_model = scorer_name(teller.scorer) if teller.scorer else None

    @abstractmethod
    def show(self, told: Told) -> None:
        """A line, or several."""


class TablePrinter(Printer):
    """For eyes: a row a caption."""

    def __init__(self, teller: Teller) -> None:
        super().__init__(teller)
        scored = f", scored by {self.clap_model}" if self.clap_model else ""
        say(f"model {self.model}, weights sha256 {teller.captioner.weights_sha256}{scored}")
        say()
        say(f"{'score':>6}  {'start':>9}  {'length':>9}  file  caption")

    def show(self, told: Told) -> None:
        if told.failed:
            return
        score = "-" if told.score is None else f"{told.score:.3f}"
        start, length = clock(told.start_ms), clock(told.end_ms - told.start_ms)
        text = f"({told.reason})" if told.caption is None else one_line(told.caption, 400)
        say(f"{score:>6}  {start:>9}  {length:>9}  {one_line(told.file)}  {text}")


class JsonlPrinter(Printer):
    """A JSON object a line, in ASCII: what would steer a terminal is escaped. A fault has `reason` and `detail`."""

    def show(self, told: Told) -> None:
        row: dict[str, Any] = {"file": told.file, "start_s": told.start_ms / 1000, "end_s": told.end_ms / 1000}
        row |= {"caption": told.caption, "logprob": told.logprob, "model": self.model}
        if self.clap_model:
            row |= {"score": None if told.score is None else round(told.score, 6), "clap_model": self.clap_model}
        if told.reason is not None:
            row |= {"reason": told.reason, "detail": told.detail}
        say(json.dumps(row))


class CsvPrinter(Printer):
    """A line a caption; names and captions as one line each, without what would steer a terminal."""

    def __init__(self, teller: Teller) -> None:
        super().__init__(teller)
        self._writer = csv.writer(sys.stdout, lineterminator="\n")
        names = ["file", "start_s", "end_s", "caption", "logprob", "score", "model", "clap_model", "reason"]
        self._writer.writerow(names)

    def show(self, told: Told) -> None:
        score = "" if told.score is None else f"{told.score:.6f}"
        span = [f"{told.start_ms / 1000:.3f}", f"{told.end_ms / 1000:.3f}"]
        said = [one_line(told.caption), "" if told.logprob is None else told.logprob, score]
        self._writer.writerow([one_line(told.file), *span, *said, self.model, self.clap_model or "", told.reason or ""])


_PRINTERS: dict[str, type[Printer]] = {"table": TablePrinter, "jsonl": JsonlPrinter, "csv": CsvPrinter}
