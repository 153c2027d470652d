"""A progress bar where there is a terminal; elsewhere nothing, and lines tell the same."""

from __future__ import annotations

import logging
import sys
from typing import Any


class Bar:
    """On stderr. `live`: it is shown."""

    def __init__(self, name: str, done: int, steps: int) -> None:
        self.live = sys.stderr.isatty()
        self._streams: list[tuple[Any, Any]] = []
        if not self.live:
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        columns = (TextColumn(name), BarColumn(bar_width=24), MofNCompleteColumn(), TextColumn("{task.fields[text]}"))
        before = sys.stderr
        self._progress = Progress(*columns, console=Console(stderr=True), redirect_stdout=sys.stdout.isatty())
        self._progress.start()
        self._task = self._progress.add_task("", total=steps, completed=done, text="")
        # Log lines go above the bar: rich has taken stderr over, but a handler holds the stream it was made with.
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream is before:
                self._streams.append((handler, handler.setStream(sys.stderr)))

    def show(self, done: int, text: str) -> None:
        if self.live:
            self._progress.update(self._task, completed=done, text=text)

    def close(self) -> None:
        if self.live:
            for handler, stream in self._streams:
                handler.setStream(stream)
            self._progress.stop()
