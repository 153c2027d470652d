"""A wall-clock limit on a request, however it is spread: connections, redirects, a body that comes byte by byte.

    deadline = Deadline()
    sock = deadline.hold(sock)                       # each connection, as it is made
    with deadline.of(300.0, fault):                  # `fault` is raised when the time is up
        ...

A socket's own timeout starts anew with each byte, so a server can keep a caller for ever. At the deadline the held
connections are shut down, from another thread: whoever reads from them is told that they ended. What cannot be
ended that way (a resolver that hangs, native code) is for the watchdog of the worker, which ends the process.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from stages.faults import Fault


class Deadline:
    """For one request at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = False
        self._passed = False
        self._held: list[socket.socket] = []

    @contextmanager
    def of(self, limit_s: float | None, fault: Fault) -> Iterator[None]:
        """Raise `fault` in place of what the block ends with once the time is up. None = no limit."""
        if limit_s is None:
            yield
            return
        self._running, self._passed = True, False
        timer = threading.Timer(max(limit_s, 0.0), self._end)
        timer.daemon = True
        timer.start()
        try:
            yield
        except Exception:
            if not self._passed:
                raise
            raise fault from None
        else:
            if self._passed:  # of a body that only its connection ends, what came before the shutdown looks whole
                raise fault
        finally:
            timer.cancel()
            with self._lock:
                self._running = False
                for held in self._held:
                    held.close()
                self._held.clear()

    def hold(self, sock: socket.socket) -> socket.socket:
        """Shut this connection down when the time is up. TimeoutError when it is up already."""
        with self._lock:
            if self._passed and self._running:
                sock.close()
                raise TimeoutError("the request has taken too long")
            if self._running:
                # Of its own: TLS takes the socket over, and the caller may close it.
                self._held.append(sock.dup())
        return sock

    def _end(self) -> None:
        with self._lock:
            if not self._running:
                return
            self._passed = True
            for held in self._held:
                with suppress(OSError):
                    held.shutdown(socket.SHUT_RDWR)
