"""Progress of a verb that goes through clips one by one: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time

#: Seconds between two plain lines.
PLAIN_EVERY_S = 5.0


class Bar:
    """`with Bar("caption", 10) as bar: bar.at(3, "1 unheard")`; on stderr."""

    def __init__(self, title: str, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(stderr=True, highlight=False, markup=False)
        self._title, self._total, self._live = title, total, self._console.is_terminal
        columns = (TextColumn(title), BarColumn(bar_width=28), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=self._console, disable=not self._live, transient=True)
        self._task = self._bar.add_task(title, total=total)
        self._next_line_s = time.monotonic() + PLAIN_EVERY_S

    def __enter__(self) -> Bar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        """A line for itself."""
        if self._live:
            self._console.print(text, soft_wrap=True)
        else:
            sys.stderr.write(text + "\n")

    def at(self, done: int, note: str) -> None:
        """So many clips are done, well or badly."""
        self._bar.update(self._task, completed=done)
        if not self._live and time.monotonic() >= self._next_line_s:
            self.say(f"{self._title}  {done}/{self._total} clips  {note}")
            self._next_line_s = time.monotonic() + PLAIN_EVERY_S
