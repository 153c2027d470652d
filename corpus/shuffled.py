"""Rows of a view in another order than it has them, in bounded memory: read once, a scratch file for each wave.

for table in tables_of(view, [rows of the first wave, rows of the second, ...]): ...
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Ints = npt.NDArray[np.int64]

#: As many waves are read from the view itself: each reads what it needs of it once more.
_FROM_THE_VIEW = 2

_OPTIONS = pa.ipc.IpcWriteOptions(compression="zstd")


def tables_of(view: Any, needed: Sequence[Ints], scratch: Path | None = None) -> Iterator[pa.Table]:
    """For each of `needed` (rows of the view, ascending) the table of these rows, all columns.

    The files lie in the folder `scratch`, or where temporary files do; some 250 bytes a row.
    """
    if len(needed) <= _FROM_THE_VIEW:
        yield from (view.rows(rows) for rows in needed)
        return
    with tempfile.TemporaryDirectory(prefix="rows-", dir=scratch) as folder:
        files = [Path(folder, f"{at:05d}.arrow") for at in range(len(needed))]
        _spread(view, needed, files)
        for file in files:
            with pa.OSFile(str(file)) as opened, pa.ipc.open_stream(opened) as reader:
                yield reader.read_all().combine_chunks()
            file.unlink()


def _spread(view: Any, needed: Sequence[Ints], files: Sequence[Path]) -> None:
    first = 0
    with ExitStack() as stack:
        opened = [stack.enter_context(pa.OSFile(str(file), "wb")) for file in files]
        writers = [stack.enter_context(pa.ipc.new_stream(file, view.schema, options=_OPTIONS)) for file in opened]
        for table in view.batches():
            stop = first + table.num_rows
            for writer, rows in zip(writers, needed, strict=True):
                low, high = np.searchsorted(rows, [first, stop])
                if low < high:
                    writer.write_table(table.take(pa.array(rows[low:high] - first)).combine_chunks())
            first = stop
