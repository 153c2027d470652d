"""Find the copies in a corpus: blocks of clips, keys sorted in partitions, pairs confirmed block by block.

    clips ─► blocks (fingerprints in shared memory) ─► keys by partition ─► pairs that share a key
          ─► glimpse, then the whole overlap ─► edges ─► who is kept (corpus/dedup.py)

Every step but the last is a function of its arguments that may run anywhere, and what it finds does not depend on how
clips were cut into blocks or keys into partitions: tests/pipeline/test_dedup_job.py compares them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from corpus.dedup import (
    Edges,
    Keys,
    Pairs,
    Rules,
    Verdict,
    candidate_pairs,
    columns_of,
    confirmed,
    exact_keepers,
    keep_order,
    keepers,
    once,
)
from corpus.dedup_clips import CLIPS
from corpus.fingerprints import Prints
from pipeline.spread import Spread

log = logging.getLogger(__name__)

Ints = npt.NDArray[np.int64]

#: Clips whose keys are sorted together.
PARTITION_CLIPS = 131_072

#: Columns that decide, kept of every clip; fingerprints go to their blocks.
_DECIDES = [name for name in CLIPS.names if name != "fingerprint"]


@dataclass
class _Block:
    prints: Any  # Prints, or what stands for it on Ray
    base: int
    rows: int


@dataclass
class Copies:
    """The clips of a corpus, gathered block by block, and then who is a copy of whom."""

    spread: Spread
    rules: Rules
    _blocks: list[_Block] = field(default_factory=list)
    _tables: list[pa.Table] = field(default_factory=list)
    _rows: int = 0

    def add(self, clips: pa.Table) -> None:
        """A block of clips (schema CLIPS). Call it with as many rows as fit well in memory."""
        prints = Prints.of(clips.column("fingerprint").combine_chunks())
        self._blocks.append(_Block(self.spread.put(prints), self._rows, clips.num_rows))
        self._tables.append(clips.select(_DECIDES))
        self._rows += clips.num_rows

    def find(self) -> dict[str, pa.Array]:
        """The columns of schema DEDUP for every clip added, in that order."""
        clips = pa.concat_tables(self._tables) if self._tables else CLIPS.empty_table().select(_DECIDES)
        ranks = keep_order(clips)
        exact = exact_keepers(clips.column("hash"), ranks)
        edges = self._edges(ranks, exact) if self._rows else Edges.of([])
        verdict: Verdict = keepers(edges, ranks, exact)
        return columns_of(verdict, exact, clips.column("clip_id").combine_chunks())

    def _edges(self, ranks: Ints, exact: Ints) -> Edges:
        partitions = max(1, -(-self._rows // PARTITION_CLIPS))
        best = exact == np.arange(len(exact))  # of exact copies one is enough
        parts = [
            self.spread.hold(keys_of, (b.prints, b.base, best[b.base : b.base + b.rows], partitions))
            for b in self._blocks
        ]
        shared, bases = self.spread.put(ranks), [block.base for block in self._blocks]
        pairs = [self.spread.hold(pairs_of, (at, shared, bases, *parts)) for at in range(partitions)]
        calls = (
            (self.rules, _home(i, j, len(bases)), a.prints, a.base, b.prints, b.base, *pairs)
            for i, a in enumerate(self._blocks)
            for j, b in enumerate(self._blocks)
        )
        return Edges.of(list(self.spread.each(edges_of, calls)))


@dataclass(frozen=True)
class Cut:
    """Keys or pairs in groups: group g is rows[bounds[g] : bounds[g + 1]]. A few large arrays travel well."""

    rows: Any
    bounds: Ints

    @staticmethod
    def of(rows: Any, group: Ints, groups: int) -> Cut:
        order = np.argsort(group, kind="stable")
        return Cut(rows.take(order), np.searchsorted(group[order], np.arange(groups + 1)))

    def group(self, number: int) -> Any:
        return self.rows.take(slice(self.bounds[number], self.bounds[number + 1]))


def keys_of(prints: Prints, base: int, wanted: npt.NDArray[np.bool_], partitions: int) -> Cut:
    """The keys of a block's wanted clips (numbered from `base`), cut into partitions by their size."""
    some = np.flatnonzero(wanted[prints.owners])
    owners, places = prints.owners[some], prints.places[some]
    keys = Keys(
        prints.keys[some],
        prints.data[prints.first[owners] + np.minimum(places, prints.frames[owners] - 1)],
        (owners + base).astype(np.int32),
        places.astype(np.int32),
    )
    which = (keys.keys.astype(np.uint64) * np.uint64(partitions)) >> np.uint64(32)
    return Cut.of(keys, which.astype(np.int64), partitions)


def pairs_of(partition: int, ranks: Ints, bases: list[int], *blocks: Cut) -> Cut:
    """The pairs of a partition of keys, cut by the blocks that the two clips lie in (see `_home`)."""
    pairs = candidate_pairs(Keys.of([block.group(partition) for block in blocks]), ranks)
    better, worse = (np.searchsorted(np.asarray(bases), c, side="right") - 1 for c in (pairs.better, pairs.worse))
    return Cut.of(pairs, _home(better, worse, len(bases)), len(bases) ** 2)


def _home(better: Any, worse: Any, blocks: int) -> Any:
    return better * blocks + worse


def edges_of(rules: Rules, home: int, a: Prints, base_a: int, b: Prints, base_b: int, *found: Cut) -> Edges:
    """The pairs of two blocks whose fingerprints agree."""
    pairs = once(Pairs.of([cut.group(home) for cut in found]))
    return confirmed(rules, a, base_a, b, base_b, pairs)


def in_blocks(tables: Iterable[pa.Table], rows: int) -> Iterable[pa.Table]:
    """The tables, put together to blocks of at least `rows` rows (the last may have fewer)."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(part.num_rows for part in waiting) >= rows:
            yield pa.concat_tables(waiting).combine_chunks()
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting).combine_chunks()
