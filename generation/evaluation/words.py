"""Names that strangers gave, in a message."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

SHOWN = 5


def some_names(names: Iterable[str]) -> str:
    """The first five, and a mark for more; printable characters only: a name may hold what steers a terminal."""
    first = list(islice(names, SHOWN + 1))
    safe = ["".join(character if character.isprintable() else "?" for character in name) for name in first[:SHOWN]]
    return ", ".join(safe) + (", …" if len(first) > SHOWN else "")
