"""The best rows of a stream, by a number that is computed as it goes by: memory for the best only."""

from __future__ import annotations

import numpy as np
import pyarrow as pa


class Top:
    """Keeps the `count` rows with the highest keys; of equal keys the rows that came first."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._keys = np.zeros(0)
        self._rows: pa.Table | None = None

    def add(self, keys: np.ndarray, rows: pa.Table) -> None:
        """One key a row; rows whose key is not a number are passed over."""
        better = np.isfinite(keys)
        if self._keys.size == self._count and self._count:
            better &= keys > self._keys[-1]
        at = np.flatnonzero(better)
        if at.size == 0 or self._count == 0:
            return
        at = at[np.argsort(-keys[at], kind="stable")[: self._count]]
        found = rows.take(pa.array(at))
        every = found if self._rows is None else pa.concat_tables([self._rows, found])
        all_keys = np.concatenate([self._keys, keys[at].astype(np.float64)])
        order = np.argsort(-all_keys, kind="stable")[: self._count]
        self._keys, self._rows = all_keys[order], every.take(pa.array(order)).combine_chunks()

    def best(self) -> list[tuple[float, dict[str, object]]]:
        """(key, row) from the highest down."""
        rows = [] if self._rows is None else self._rows.to_pylist()
        return list(zip(self._keys.tolist(), rows, strict=True))
