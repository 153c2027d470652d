"""The verbs that listen: score files, search a corpus, report on a run. Results to stdout, faults to stderr."""

from __future__ import annotations

import csv
import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.shown import clock, one_line
from pipeline.verbs import say

if TYPE_CHECKING:
    import numpy as np

    from pipeline.score_files import Heard
    from pipeline.search import Found
    from scorer.load import Scorer


def score_verb(
    files: Sequence[str], texts: Sequence[str], captions: str | None, *, model: str, format_name: str, device: str
) -> int:
    """Exit code 1 when a file could not be heard."""
    from pipeline.media_files import FilesError, find_files
    from pipeline.score_files import hear_files
    from pipeline.scorers import open_scorer

    texts = list(dict.fromkeys(texts))
    if captions is not None and (files or texts):
        raise FilesError("--captions brings its own files and texts: give either it, or FILES and --text")
    if captions is None and not (files and texts):
        raise FilesError("give FILES and at least one --text, or --captions with a CSV or JSONL of file and caption")
    if not all(text.strip() for text in texts):
        raise FilesError("--text is empty: there is nothing to score with")
    found = find_files(files) if captions is None else []
    scorer = open_scorer(model, device)
    printer = _PRINTERS[format_name](scorer, texts)
    if captions is not None:
        return _score_captions(scorer, captions, printer)
    vectors = scorer.embed_text(texts)
    failed = 0
    for heard in hear_files(scorer, found):
        failed += _print(printer, heard, texts, vectors)
    return 1 if failed else 0


def _score_captions(scorer: Scorer, captions: str, printer: Printer) -> int:
    """Lines of one file that stand together are scored with one hearing."""
    from pipeline.score_files import hear_files, read_captions

    groups = [
        (file, [line.caption for line in lines])
        for file, lines in groupby(read_captions(captions), key=lambda line: line.file)
    ]
    failed = 0
    heards = hear_files(scorer, (file for file, _ in groups))
    for (_, texts), heard in zip(groups, heards, strict=True):
        failed += _print(printer, heard, texts, scorer.embed_text(texts))
    return 1 if failed else 0


def _print(printer: Printer, heard: Heard, texts: Sequence[str], vectors: np.ndarray) -> bool:
    """Print a file's scores, or what is wrong with it; True when something is."""
    if heard.vector is None:
        sys.stderr.write(f"{one_line(heard.file)}: {heard.reason}: {one_line(heard.detail)}\n")
        printer.failed(heard)
        return True
    printer.scored(heard, texts, [float(score) for score in vectors @ heard.vector])
    sys.stdout.flush()
    return False


class Printer(ABC):
    """One way to print scores."""

    def __init__(self, scorer: Scorer, texts: Sequence[str]) -> None:
        from scorer.load import model_name

        self.model = model_name(scorer)

    @abstractmethod
    def scored(self, heard: Heard, texts: Sequence[str], scores: Sequence[float]) -> None:
        """A line, or several."""

    def failed(self, heard: Heard) -> None:  # noqa: B027  not every format has a place for it
        """Nothing more than the line on stderr."""


class TablePrinter(Printer):
    """For eyes: a row a file, a column a text, the best text of each file with a star."""

    def __init__(self, scorer: Scorer, texts: Sequence[str]) -> None:
        from pipeline.scorers import threshold_text

        super().__init__(scorer, texts)
        say(f"model {self.model}, weights sha256 {scorer.weights_sha256}")
        say(f"its thresholds: {threshold_text(scorer)}")
        say()
        self._matrix = len(texts) > 1
        if self._matrix:
            for number, text in enumerate(texts, 1):
                say(f"  text {number}: {one_line(text, 100)}")
            say()
        heads = "".join(f"{number:>8} " for number in range(1, len(texts) + 1)) if self._matrix else f"{'score':>8} "
        say(f"{heads} {'length':>9}  file{'' if self._matrix else '  text'}")

    def scored(self, heard: Heard, texts: Sequence[str], scores: Sequence[float]) -> None:
        length, file = clock(round(heard.duration_s * 1000)), one_line(heard.file)
        if self._matrix:
            best = max(scores)
            cells = "".join(f"{score:8.3f}{'*' if score == best else ' '}" for score in scores)
            say(f"{cells} {length:>9}  {file}")
            return
        for text, score in zip(texts, scores, strict=True):
            say(f"{score:8.3f}  {length:>9}  {file}  {one_line(text, 80)}")


class JsonlPrinter(Printer):
    """A JSON object for each file and text; a file that could not be heard has `reason` and `detail`."""

    def scored(self, heard: Heard, texts: Sequence[str], scores: Sequence[float]) -> None:
        for text, score in zip(texts, scores, strict=True):
            about = {"file": heard.file, "text": text, "score": round(score, 6), "model": self.model}
            say(json.dumps({**about, "duration_s": round(heard.duration_s, 3)}, ensure_ascii=False))

    def failed(self, heard: Heard) -> None:
        about = {"file": heard.file, "score": None, "model": self.model}
        say(json.dumps({**about, "reason": heard.reason, "detail": heard.detail}, ensure_ascii=False))


class CsvPrinter(Printer):
    """A line for each file and text."""

    def __init__(self, scorer: Scorer, texts: Sequence[str]) -> None:
        super().__init__(scorer, texts)
        self._writer = csv.writer(sys.stdout, lineterminator="\n")
        self._writer.writerow(["file", "text", "score", "duration_s", "model", "reason"])

    def scored(self, heard: Heard, texts: Sequence[str], scores: Sequence[float]) -> None:
        for text, score in zip(texts, scores, strict=True):
            self._writer.writerow([heard.file, text, f"{score:.6f}", f"{heard.duration_s:.3f}", self.model, ""])

    def failed(self, heard: Heard) -> None:
        self._writer.writerow([heard.file, "", "", "", self.model, heard.reason])


_PRINTERS: dict[str, type[Printer]] = {"table": TablePrinter, "jsonl": JsonlPrinter, "csv": CsvPrinter}


def search_verb(
    run: str,
    text: str,
    *,
    top: int,
    view: str | None,
    model: str | None,
    device: str,
    min_score: float | None,
    everything: bool,
    legs: Sequence[str] = (),
    as_json: bool,
    html: str | None,
) -> int:
    from pipeline.search import search

    found = search(
        run,
        text,
        top=top,
        view=view,
        model=model,
        device=device,
        min_score=min_score,
        everything=everything,
        only_legs=legs,
    )
    if html is not None:
        _write_hits(run, view, found, Path(html))
    if as_json:
        say(json.dumps(_hits_as_json(run, found), indent=2, ensure_ascii=False))
    else:
        for line in _hit_lines(found):
            say(line)
        if html is not None:
            say(f"players in {html}")
    return 0


def _write_hits(run: str, view: str | None, found: Found, html: Path) -> None:
    from pipeline.players import Players
    from pipeline.report.cards import cards
    from pipeline.report.page import render
    from pipeline.runfolder import open_store

    shown = cards(((hit.clip, hit.match) for hit in found.hits), Players(open_store(run)))
    write_page(html, render("search.html.j2", found=found, run=run, view=view, cards=shown))


def write_page(path: Path, page: bytes) -> None:
    """The page, whole or not at all."""
    from corpus.store import Store

    Store(path.resolve().parent).replace(path.name, page)


def _hits_as_json(run: str, found: Found) -> dict[str, object]:
    kept = ("clip_id", "source_id", "start_ms", "end_ms", "caption", "title", "url", "clap_score", "clap_model")
    return {
        "run": run,
        "text": found.text,
        "model": found.model,
        "clips_searched": found.clips_searched,
        "hits": [
            {"match": round(hit.match, 6), **{name: getattr(hit.clip, name) for name in (*kept, "outcome", "reason")}}
            for hit in found.hits
        ],
    }


def _hit_lines(found: Found) -> Iterator[str]:
    yield f"model {found.model}: {found.clips_searched} clips searched"
    if not found.hits:
        yield "no clip fits so well"
        return
    yield f"{'match':>6}  {'clap':>6}  {'start':>9}  {'length':>8}  caption  [title]  clip"
    for hit in found.hits:
        clip = hit.clip
        clap = "-" if clip.clap_score is None else f"{clip.clap_score:.3f}"
        length = f"{(clip.end_ms - clip.start_ms) / 1000:.1f} s"
        said = one_line(clip.caption, 72) or "(no caption)"
        fate = "" if clip.outcome == "ok" else f"  {clip.outcome}/{clip.reason}"
        yield (
            f"{hit.match:6.3f}  {clap:>6}  {clock(clip.start_ms):>9}  {length:>8}  {said}"
            f"  [{one_line(clip.title, 32)}]  {one_line(clip.clip_id)}{one_line(fate)}"
        )


def report_verb(
    run: str, out: str, *, threshold: float | None, preset_model: str | None, examples: int, legs: Sequence[str] = ()
) -> int:
    from pipeline.report.build import build

    page = build(run, threshold=threshold, preset_model=preset_model, examples=examples, only_legs=legs)
    write_page(Path(out), page)
    say(f"{out}: {len(page) / 1e6:.1f} MB; open it in a browser, it asks nobody for anything")
    return 0
