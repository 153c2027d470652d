"""Whatever a site makes yt-dlp raise, as a Fault without a past.

The exceptions behind it may hold a proxy's password or a cookie: their texts are masked, and the chain ends here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from stages.faults import Fault, classify
from stages.secrets import Mask

T = TypeVar("T")


def or_fault(action: Callable[[], T], mask: Mask) -> T:
    """What the action gives; whatever it raises becomes a Fault, also when an extractor is plainly broken.

    Only a disk that cannot be written to stays an OSError: that is ours.
    """
    try:
        return action()
    except Fault as error:
        ended: Exception = Fault(error.reason, mask(error.detail), retry_after_s=error.retry_after_s)
    except Exception as error:  # noqa: BLE001  yt-dlp's extractors are code of many hands
        if "unable to write data" in str(error) or "unable to open for writing" in str(error):
            ended = OSError(mask(str(error)))
        else:
            fault = classify(error)
            ended = Fault(fault.reason, mask(fault.detail), retry_after_s=fault.retry_after_s)
    raise ended  # outside of the handlers: Python would keep what was handled as its context
