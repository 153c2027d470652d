"""Whatever a site makes yt-dlp raise, as a Fault."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from stages.faults import Fault, classify


@contextmanager
def faults() -> Iterator[None]:
    """Whatever a site's page makes yt-dlp raise becomes a Fault, also when an extractor is plainly broken.

    Only a disk that cannot be written to is passed on as it is: that is ours.
    """
    try:
        yield
    except Fault:
        raise
    except Exception as error:
        if "unable to write data" in str(error) or "unable to open for writing" in str(error):
            raise OSError(str(error)) from error
        raise classify(error) from error
