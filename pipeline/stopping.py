"""SIGINT and SIGTERM: let the units in flight go, keep what is committed, say how to go on.

    with stoppable():
        ...            # raises Stopped in the main thread when a signal arrives

A unit that is being worked on has written nothing that a reader takes for data (commits are atomic), so stopping is
leaving. A second signal ends the process at once.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


class Stopped(Exception):
    """A signal asked the run to stop; `exit_code` is the shell's convention (128 + signal)."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.exit_code = 128 + signum


@contextmanager
def stoppable() -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM into Stopped. `ensure_ray` leaves these handlers in place."""
    seen = False

    def handle(signum: int, frame: FrameType | None) -> None:
        nonlocal seen
        if seen:
            os._exit(128 + signum)
        seen = True
        raise Stopped(signum)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except SystemError as error:  # compiled code that cannot pass an exception on, as that of Ray's waiting
        if isinstance(error.__cause__, Stopped):
            raise error.__cause__ from None
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave(exit_code: int) -> NoReturn:
    """End the process now. Python itself would first wait for its threads, and those wait for sites: minutes."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)
