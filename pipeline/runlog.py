"""Logs of a run: one folder per start of a verb, with what happened in words and, per unit, in JSON lines.

    logs/2026-11-21T10-15-00-run/driver.log
    logs/2026-11-21T10-15-00-run/units.jsonl      one line per committed unit: tallies, seconds, outcomes

Clock times live here and nowhere in the corpus. A run folder on an object store gets its logs when the verb ends.
A full disk costs lines of driver.log, which is said by whoever writes data; for units.jsonl it is told here.
"""

from __future__ import annotations

import json
import logging
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from corpus.storage_faults import writing
from corpus.store import Store
from pipeline.run import UnitDone
from stages.secrets import Mask


class RunLog:
    """Where a verb writes what it does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._units = (folder / "units.jsonl").open("a", encoding="utf-8")

    def unit(self, event: UnitDone) -> None:
        """A line for a unit, flushed at once: it is what a post-mortem reads."""
        record = {
            "time": datetime.now().astimezone().isoformat(timespec="milliseconds"),
            "leg": event.leg,
            "unit": event.unit_id,
            "clips": event.clips,
            "outcomes": event.outcomes,
            "error": event.error,
            "stages": [asdict(stage) for stage in event.tally.stages],
            "commit_bytes": event.tally.commit_bytes,
            "counts": event.tally.counts,
        }
        with writing(self.folder):
            self._units.write(json.dumps(record, ensure_ascii=False) + "\n")
            self._units.flush()

    def close(self) -> None:
        with suppress(OSError):
            self._units.close()


class _DriverLog(logging.FileHandler):
    """A line that cannot be written is lost in silence: Python's way would print a traceback for each."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  logging's own name
        """See above."""

    def close(self) -> None:
        with suppress(OSError):
            super().close()


class _Masked(logging.Formatter):
    """Whole lines are masked, tracebacks too: whoever wrote them."""

    def __init__(self, mask: Mask) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._mask = mask

    def format(self, record: logging.LogRecord) -> str:
        return self._mask(super().format(record))


@contextmanager
def run_log(store: Store, verb: str, level: str = "INFO", mask: Mask | None = None) -> Iterator[RunLog]:
    """Log everything of this process to the run folder while the verb runs; `mask` hides the recipe's secrets."""
    name = f"{time.strftime('%Y-%m-%dT%H-%M-%S')}-{verb}"
    local = store.local("logs")
    folder = (Path(local) if local is not None else Path(tempfile.mkdtemp(prefix="autorecap-logs-"))) / name
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handler = _DriverLog(folder / "driver.log", encoding="utf-8")
        log = RunLog(folder)
    handler.setFormatter(_Masked(mask or Mask()))
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(level)
    try:
        yield log
    finally:
        log.close()
        root.removeHandler(handler)
        root.setLevel(before)
        handler.close()
        if local is None:
            for file in folder.iterdir():
                store.replace(f"logs/{name}/{file.name}", file.read_bytes())
