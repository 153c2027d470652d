"""Clips as batches of waves; beside a GPU the next batch is decoded while the model works on this one."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pyarrow as pa

from stages.models import Heard, hear_all


def heard_batches(clips: pa.Table, batch: int, sample_rate_hz: int, *, ahead: bool) -> Iterator[tuple[int, Heard]]:
    """The first row of each batch, and what can be heard of it."""
    firsts = range(0, clips.num_rows, batch)
    batches = [clips.slice(first, batch) for first in firsts]
    hear = partial(hear_all, sample_rate_hz=sample_rate_hz)
    if not ahead:
        yield from zip(firsts, map(hear, batches), strict=True)
        return
    with ThreadPoolExecutor(1) as decoder:
        following = [decoder.submit(hear, first) for first in batches[:1]]
        for at, first in enumerate(firsts):
            heard = following.pop().result()
            following += [decoder.submit(hear, each) for each in batches[at + 1 : at + 2]]
            yield first, heard
