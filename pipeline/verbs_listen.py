"""The verbs that listen: score files, search a corpus, report on a run. Results to stdout, faults to stderr."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from pipeline.shown import clock, one_line
from pipeline.verbs import say

if TYPE_CHECKING:
    import numpy as np

    from pipeline.score_files import Heard
    from scorer.load import Scorer


def score_verb(
    files: Sequence[str], texts: Sequence[str], captions: str | None, *, model: str, format_name: str, device: str
) -> int:
    """Exit code 1 when a file could not be heard."""
    from pipeline.score_files import FilesError, find_files, hear_files
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


class Printer:
    """One way to print scores."""

    def __init__(self, scorer: Scorer, texts: Sequence[str]) -> None:
        from scorer.load import model_name

        self.model = model_name(scorer)

    def scored(self, heard: Heard, texts: Sequence[str], scores: Sequence[float]) -> None:
        raise NotImplementedError

    def failed(self, heard: Heard) -> None:
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
