"""The next step's batches, read and moved to the device in a thread while this one is computed."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class Ahead(Generic[T]):
    """`with Ahead(draw, count) as ahead: drawn, waited_s = ahead.next()`, at most `count` times."""

    def __init__(self, draw: Callable[[], T], count: int) -> None:
        self._draw, self._left = draw, count
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="ahead")
        self._coming: Future[T] | None = None

    def __enter__(self) -> Ahead[T]:
        self._ask()
        return self

    def next(self) -> tuple[T, float]:
        """What was drawn, and the seconds that it was waited for. What drawing raised is raised here."""
        assert self._coming is not None
        began = time.monotonic()
        drawn = self._coming.result()
        waited_s = time.monotonic() - began
        self._ask()
        return drawn, waited_s

    def _ask(self) -> None:
        self._coming = self._pool.submit(self._draw) if self._left > 0 else None
        self._left -= 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
