"""What a training tells: a line now and then, every step in losses.jsonl, curves and captions for TensorBoard.

losses.jsonl has one JSON object per line: {"step", "epoch", "loss", "rate", "grad_norm", "clips", ...} for a step,
{"step", "validation": {...}} for a measurement. What was written after the checkpoint that a run goes on from is cut
off, so the file is the curve of one unbroken training.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

LOSSES = "losses.jsonl"


@dataclass(frozen=True)
class StepFacts:
    """One optimiser step, all workers together."""

    step: int  # from 1
    epoch: float
    loss: float  # nats a token, smoothed as trained
    rate: float
    grad_norm: float
    clips: int


class TrainLog:
    """Of the first worker; the others are silent."""

    def __init__(self, out: Path, *, first_step: int, steps: int, every: int, tensorboard: bool) -> None:
        self._steps, self._every = steps, every
        self._began, self._first = time.monotonic(), first_step
        self._clips, self._waited_s, self._recent = 0, 0.0, list[float]()
        self._line_at = time.monotonic()
        _cut_after(out / LOSSES, first_step)
        self._file = (out / LOSSES).open("a", encoding="utf-8")
        self._board: Any = None
        if tensorboard:
            from tensorboardX import SummaryWriter

            self._board = SummaryWriter(str(out / "tensorboard"), purge_step=first_step + 1, flush_secs=10)

    def step(self, facts: StepFacts, waited_s: float) -> None:
        self._write(asdict(facts))
        self._clips += facts.clips
        self._waited_s += waited_s
        self._recent.append(facts.loss)
        self._curves(facts.step, {"loss": facts.loss, "rate": facts.rate, "grad_norm": facts.grad_norm})
        if facts.step % self._every == 0 or facts.step == self._steps:
            self._line(facts)

    def _line(self, facts: StepFacts) -> None:
        now = time.monotonic()
        seconds = max(now - self._line_at, 1e-9)
        clips_per_s, waiting = self._clips / seconds, self._waited_s / seconds
        left_s = (now - self._began) / (facts.step - self._first) * (self._steps - facts.step)
        mean = sum(self._recent) / len(self._recent)
        log.info(
            "step %d/%d epoch %.2f loss %.4f rate %.2e %.1f clips/s (%.0f %% waiting for data) left %s",
            facts.step, self._steps, facts.epoch, mean, facts.rate, clips_per_s, 100 * waiting, _clock(left_s),
        )  # fmt: skip
        self._curves(facts.step, {"clips_per_s": clips_per_s, "waiting_share": waiting})
        self._clips, self._waited_s, self._recent, self._line_at = 0, 0.0, [], now

    def validation(self, step: int, measured: Mapping[str, float], samples: Sequence[tuple[str, str]]) -> None:
        """`samples`: (said, reference) pairs."""
        self._write({"step": step, "validation": dict(measured)})
        self._curves(step, {f"validation/{name}": value for name, value in measured.items()})
        log.info("step %d validation %s", step, " ".join(f"{name} {value:.4f}" for name, value in measured.items()))
        for said, reference in samples[:3]:
            log.info("  says %r where the caption is %r", said, reference)
        if self._board is not None and samples:
            rows = [f"| {_cell(said)} | {_cell(reference)} |" for said, reference in samples]
            self._board.add_text("captions", "\n".join(["| said | caption |", "|---|---|", *rows]), step)

    def note(self, step: int, what: str, count: int) -> None:
        self._write({"step": step, "note": what, "count": count})
        log.warning("step %d: %s (%d)", step, what, count)

    def close(self) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()

    def _curves(self, step: int, values: Mapping[str, float]) -> None:
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def _write(self, entry: Mapping[str, Any]) -> None:
        finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in entry.items()}
        self._file.write(json.dumps(finite) + "\n")
        self._file.flush()


def _cut_after(path: Path, step: int) -> None:
    """Keep the lines up to `step`; a line that a kill has left half written goes, too."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] > step:
                break
        except (ValueError, KeyError, TypeError):
            break
        kept.append(line + "\n")
    temporary = path.with_name(f".tmp-{path.name}")
    temporary.write_text("".join(kept), encoding="utf-8")
    temporary.replace(path)


def _cell(text: str) -> str:
    """Captions are strangers' words: no Markdown, no line breaks."""
    return "".join(c if c.isalnum() or c in " .,;'-" else " " for c in text)


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
