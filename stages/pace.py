"""How fast a host is asked: one request in so many seconds, and a pause for all when the host says so.

    pace = Pace(requests_per_s=1.0, folder=cache / ".pace")
    pace.wait(url)                 # sleeps until this caller's turn
    pace.cool_down(url, 30.0)      # the host answered 429: nobody asks it for 30 s

With a folder, the turns are kept in small locked files there and all processes of the node share them;
without one, the threads of this process do. Hosts are paced apart from each other.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
import time
from collections import defaultdict
from pathlib import Path
from urllib.parse import urlsplit

#: No turn is further away than this: a clock that jumped, or a torn file, must not stop a node.
MAX_AHEAD_S = 900.0


class Pace:
    """Turns per host. Safe to share between threads."""

    def __init__(self, requests_per_s: float, folder: Path | None = None) -> None:
        self._interval_s = 1.0 / requests_per_s
        self._folder = folder
        self._lock = threading.Lock()
        self._next_s: dict[str, float] = defaultdict(float)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def wait(self, url: str) -> None:
        """Sleep until it is this caller's turn to ask the URL's host."""
        turn_s = self._book(_host(url), 0.0, self._interval_s)
        delay_s = turn_s - time.time()
        if delay_s > 0:
            time.sleep(delay_s)

    def cool_down(self, url: str, seconds: float) -> None:
        """Let nobody ask the URL's host before `seconds` have passed."""
        self._book(_host(url), seconds, 0.0)

    def _book(self, host: str, not_before_s: float, interval_s: float) -> float:
        """Take the next turn and move the one after it on by `interval_s`."""
        if self._folder is None:
            with self._lock:
                turn_s, self._next_s[host] = _advance(self._next_s[host], not_before_s, interval_s)
                return turn_s
        name = hashlib.sha256(host.encode()).hexdigest()[:16]
        handle = os.open(self._folder / name, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            turn_s, next_s = _advance(_to_float(os.pread(handle, 32, 0)), not_before_s, interval_s)
            os.pwrite(handle, f"{next_s:<32.6f}".encode()[:32], 0)
            return turn_s
        finally:
            os.close(handle)


def _advance(next_s: float, not_before_s: float, interval_s: float) -> tuple[float, float]:
    now_s = time.time()
    if next_s > now_s + MAX_AHEAD_S:
        next_s = now_s
    turn_s = max(next_s, now_s + not_before_s)
    return turn_s, turn_s + interval_s


def _to_float(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""
