"""Units that a wave loses with their workers, counted, so that a leg whose workers all die does not go through a
thousand of them first.

A unit that kills its worker is given up (pipeline/tries.py), and its summary row says so. Where not even that is left
(a node is gone, Ray's own tries are used up) Ray Data drops the block and tells its log only: the unit is found by what
is missing when the wave is over (pipeline/wave.py).
"""

from __future__ import annotations

import logging
from types import TracebackType

log = logging.getLogger(__name__)

#: The logger of the module that counts errored blocks (Ray 2.57 to 2.61).
RAY_LOGGER = "ray.data._internal.execution.streaming_executor_state"

#: So many blocks lost with none coming through between them end a wave: somebody must look at one of them closely.
MAX_LOST_IN_A_ROW = 8


class TooManyLost(Exception):
    """Ends a wave; its units are worked one by one, or in another wave."""


class LostBlocks(logging.Handler):
    """`with LostBlocks() as lost: ...`, and `lost.see(row["lost"])` for each summary row."""

    def __init__(self) -> None:
        super().__init__(level=logging.ERROR)
        self._in_a_row = 0
        self._propagated = True

    def see(self, is_lost: bool) -> None:
        """A summary row came. Raises TooManyLost."""
        self._in_a_row = self._in_a_row + 1 if is_lost else 0
        self._check()

    def emit(self, record: logging.LogRecord) -> None:
        """Called by Ray Data's own thread; what is raised here ends the wave, and is raised in the driver's."""
        error = record.exc_info[1] if record.exc_info else None
        if error is None or isinstance(error, TooManyLost):
            return
        self._in_a_row += 1
        log.warning("a unit was lost with its worker: %s", " ".join(str(error).split())[:600])
        self._check()

    def _check(self) -> None:
        if self._in_a_row >= MAX_LOST_IN_A_ROW:
            raise TooManyLost(f"{self._in_a_row} units were lost one after the other")

    def __enter__(self) -> LostBlocks:
        ray_log = logging.getLogger(RAY_LOGGER)
        ray_log.addHandler(self)
        self._propagated, ray_log.propagate = ray_log.propagate, False  # its tracebacks say no more than our line
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ray_log = logging.getLogger(RAY_LOGGER)
        ray_log.removeHandler(self)
        ray_log.propagate = self._propagated
