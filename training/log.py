"""What a training tells: a bar or lines, every step in losses.jsonl, curves, sounds and pictures for TensorBoard.

losses.jsonl has one JSON object per line: {"step", "epoch", "clips", "loss", "rate", "grad_norm", ...} for a step (with
several turns a step "<turn>/loss" and so on), {"step", "validation": {...}} for a look at held-out clips, {"step",
"note", "count"} for what went wrong. What was written after the checkpoint that a run goes on from is cut off, so the
file is the curve of one unbroken training.
"""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpus.storage_faults import writing
from training.bar import Bar
from training.lesson import Validation
from training.pace import Pace

if TYPE_CHECKING:
    from training.board import Board

log = logging.getLogger(__name__)

LOSSES = "losses.jsonl"


@dataclass(frozen=True)
class StepFacts:
    """One step, all workers together."""

    step: int  # from 1
    epoch: float
    clips: int
    numbers: Mapping[str, float]  # losses, rates, gradients' norms


class TrainLog:
    """Of the first worker; the others are silent. StorageFault when the disk takes nothing more."""

    def __init__(
        self, out: Path, *, first_step: int, steps: int, every: int, tensorboard: bool, pace: Pace, name: str = "train"
    ) -> None:
        self._steps, self._every, self._pace = steps, every, pace
        self._recent: list[Mapping[str, float]] = []
        self._skipped: Counter[str] = Counter()
        self._out = out
        self._board: Board | None = None
        with writing(out):
            _cut_after(out / LOSSES, first_step)
            self._file = (out / LOSSES).open("a", encoding="utf-8")
            if tensorboard:
                from training.board import Board

                self._board = Board(out / "tensorboard", first_step)
        self._bar = Bar(name, first_step, steps)

    def step(self, facts: StepFacts, step_s: float, waited_s: float) -> None:
        self._write({"step": facts.step, "epoch": facts.epoch, "clips": facts.clips, **facts.numbers})
        self._curves(facts.step, facts.numbers)
        self._recent.append(facts.numbers)
        self._pace.step(facts.clips, step_s, waited_s)
        due = facts.step % self._every == 0 or facts.step == self._steps
        text = self._text(facts) if due or self._bar.live else ""
        self._bar.show(facts.step, text)
        if due:
            if not self._bar.live:
                log.info("step %d/%d epoch %.2f %s", facts.step, self._steps, facts.epoch, text)
            if self._skipped:
                log.info("skipped: %s", ", ".join(f"{reason} {n}" for reason, n in sorted(self._skipped.items())))
            self._skipped.clear()
            self._curves(facts.step, self._pace.numbers())
            self._recent = []
            self._pace.begin_again()

    def _text(self, facts: StepFacts) -> str:
        """Losses as means since the last line."""
        losses = [name for name in facts.numbers if name.rpartition("/")[2] == "loss"]
        means = {name: sum(one[name] for one in self._recent) / len(self._recent) for name in losses}
        rates = " ".join(f"{name} {facts.numbers[name]:.2e}" for name in facts.numbers if name == "rate")
        left = self._pace.left(self._steps - facts.step)
        return " ".join(
            [*(f"{name} {mean:.4f}" for name, mean in means.items()), *([rates] if rates else []),
             self._pace.text(), f"left {left}"]
        )  # fmt: skip

    def validation(self, step: int, told: Validation) -> None:
        measures = told.measures
        self._write({"step": step, "validation": measures})
        self._curves(step, {f"validation/{name}": value for name, value in measures.items()})
        log.info("step %d validation %s", step, " ".join(f"{name} {value:.4f}" for name, value in measures.items()))
        for said, wanted in told.texts[:3]:
            log.info("  says %r where the caption is %r", said, wanted)
        if self._board is not None:
            self._show(self._board, step, told)

    def _show(self, board: Board, step: int, told: Validation) -> None:
        with writing(self._out):
            for name, sound in told.sounds.items():
                board.sound(name, sound, step)
            for name, image in told.images.items():
                board.image(name, image, step)
            if told.texts:
                rows = [f"| {_cell(said)} | {_cell(wanted)} |" for said, wanted in told.texts]
                board.text("captions", "\n".join(["| said | caption |", "|---|---|", *rows]), step)
            board.flush()

    def skipped(self, step: int, counts: Mapping[str, int]) -> None:
        """Clips that were left out, by reason: a line of the file each; on the screen with the next line."""
        self._skipped.update(counts)
        for reason, count in sorted(counts.items()):
            self._write({"step": step, "note": f"skipped {reason}", "count": count})

    def note(self, step: int, what: str, count: int) -> None:
        self._write({"step": step, "note": what, "count": count})
        log.warning("step %d: %s (%d)", step, what, count)

    def close(self) -> None:
        self._bar.close()
        for file in (self._file, self._board):
            with suppress(OSError):  # of a line that could not be written: told already
                if file is not None:
                    file.close()

    def _curves(self, step: int, values: Mapping[str, float]) -> None:
        if self._board is not None:
            with writing(self._out):
                for name, value in values.items():
                    self._board.scalar(name, value, step)
                self._board.flush()

    def _write(self, entry: Mapping[str, Any]) -> None:
        with writing(self._out):
            self._file.write(json.dumps(_finite(entry)) + "\n")
            self._file.flush()


def _finite(value: Any) -> Any:
    """JSON has no infinities."""
    if isinstance(value, Mapping):
        return {name: _finite(one) for name, one in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cut_after(path: Path, step: int) -> None:
    """Keep the lines up to `step`; a line that a kill has left half written goes, too."""
    if not path.is_file():
        return
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] > step:
                break
        except (ValueError, KeyError, TypeError):
            break
        lines.append(line + "\n")
    temporary = path.with_name(f".tmp-{path.name}")
    temporary.write_text("".join(lines), encoding="utf-8")
    temporary.replace(path)


def _cell(text: str) -> str:
    """Captions are strangers' words: no Markdown, no line breaks."""
    return "".join(c if c.isalnum() or c in " .,;'-" else " " for c in text)
