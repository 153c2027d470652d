"""Which legs of a run to read: all, where they stand one after the other; of two side by side, those that are named.

fetch ─► models ─► dedup          choose(store)                      fetch, models, dedup
     └─► models_b                 choose(store)                      LegChoiceError: both give `caption`
                                  choose(store, ["models_b"])        fetch, models_b
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from corpus import compact
from corpus.compacted import compacted_files
from corpus.schema import IDENTITY, OUTCOME
from corpus.store import Store
from corpus.view_query import ViewError, corpus_schema
from pipeline.runfolder import legs_of

log = logging.getLogger(__name__)

#: Columns that every leg has.
_SHARED = {*IDENTITY.names, *OUTCOME.names}


@dataclass(frozen=True)
class Legs:
    """`names`: root leg first, each behind the one it starts from. `ends`: those that no other of them starts from."""

    names: list[str]
    ends: list[str]

    def compact(self, store: Store) -> None:
        """Bring their compacted files up to date."""
        for leg in self.names:
            compact.compact(store, leg, root=leg == self.names[0])


def choose(store: Store, named: Sequence[str] = ()) -> Legs:
    """The legs that have committed something: all, or those `named` and what they start from; compacted.

    ViewError when a named leg is none of the run's, or when two legs side by side give the same column.
    """
    started = legs_of(store)
    wanted = _with_ancestors(started, named) if named else list(started)
    Legs(wanted, []).compact(store)
    rows = {leg: sum(file.rows for file in compacted_files(store, leg)) for leg in wanted}
    names = [leg for leg in wanted if rows[leg]]
    for leg in wanted:
        if not rows[leg]:
            log.warning("leg %s has committed nothing yet: its columns are left out", leg)
        elif behind := rows[names[0]] - rows[leg]:
            log.warning("leg %s has not come to %d clips yet: they are left out", leg, behind)
    before = {started[leg].get("after") for leg in names}
    _refuse_doubles(store, started, names)
    return Legs(names, [leg for leg in names if leg not in before])


def line_of(started: Mapping[str, Mapping[str, Any]], leg: str) -> list[str]:
    """The leg and all it starts from, root leg first."""
    line: list[str] = []
    at: str | None = leg
    while at is not None:
        line.insert(0, at)
        at = started[at].get("after")
    return line


def _with_ancestors(started: Mapping[str, Mapping[str, Any]], named: Sequence[str]) -> list[str]:
    if unknown := [leg for leg in named if leg not in started]:
        raise ViewError(f"no leg of this run is called {', '.join(unknown)}; there are {', '.join(started) or 'none'}")
    wanted = {leg for name in named for leg in line_of(started, name)}
    return [leg for leg in started if leg in wanted]


def _refuse_doubles(store: Store, started: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> None:
    own = {leg: [name for name in corpus_schema(store, [leg]).names if name not in _SHARED] for leg in names}
    for one, other in _side_by_side(started, names):
        if double := [name for name in own[one] if name in own[other]]:
            raise ViewError(
                f"legs {one} and {other} both give {', '.join(double)}: say which is meant, "
                f"--leg {one} or --leg {other} (with it come the legs that it starts from)"
            )


def _side_by_side(started: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> Iterator[tuple[str, str]]:
    for one, other in combinations(names, 2):
        if one not in line_of(started, other):
            yield one, other
