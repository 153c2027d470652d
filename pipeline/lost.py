"""Units that a wave loses with their workers, counted, so that a leg whose workers all die does not go through a
thousand of them first.

A unit that kills its worker is given up (pipeline/tries.py), and its summary row says so. Where not even that is left
(a node is gone, Ray's own tries are used up) no row comes: pipeline/wave.py finds the unit by what is missing.
"""

from __future__ import annotations

import logging

log = logging.getLogger(__name__)

#: So many units lost with none coming through between them end a wave: somebody must look at one of them closely.
MAX_LOST_IN_A_ROW = 8


class TooManyLost(Exception):
    """Ends a wave; its units are worked one by one, or in another wave."""


class LostUnits:
    """Of one wave. Both methods raise TooManyLost."""

    def __init__(self) -> None:
        self._in_a_row = 0

    def see(self, is_lost: bool) -> None:
        """A summary row came."""
        self._in_a_row = self._in_a_row + 1 if is_lost else 0
        self._check()

    def gone(self, unit_id: str, error: BaseException) -> None:
        """No row will come."""
        log.warning("unit %s was lost with its worker: %s", unit_id, " ".join(str(error).split())[:600])
        self._in_a_row += 1
        self._check()

    def _check(self) -> None:
        if self._in_a_row >= MAX_LOST_IN_A_ROW:
            raise TooManyLost(f"{self._in_a_row} units were lost one after the other")
