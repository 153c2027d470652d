"""Data sets as numbers: a generator is told which corpus a clip comes from, and at generation whose manner is wanted.

"None of them" has a number of its own, the last. The reference's is 0, which is AudioCaps' as well; checkpoints that
were trained so are given `unconditional=0`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from generation.conditioners.base import ConditionerError

#: The published models' data sets.
PUBLISHED: Mapping[str, int] = {
    "audiocaps": 0, "clotho": 1, "vggsounds": 2, "wavcaps_audioset_strong": 3, "wavcaps_bbcsound": 4,
    "wavcaps_freesound": 5, "wavcaps_soundbible": 6, "fsd50k": 7, "caption_audioset": 8, "autocap": 9,
}  # fmt: skip


@dataclass(frozen=True)
class DatasetIds:
    """Names to numbers below `count`; `unconditional` None: the last of them."""

    ids: Mapping[str, int]
    count: int = 32
    unconditional: int | None = None
    _none: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        none = self.count - 1 if self.unconditional is None else self.unconditional
        object.__setattr__(self, "_none", none)
        wrong = [f"{name}: {number}" for name, number in self.ids.items() if not 0 <= number < self.count]
        if wrong or not 0 <= none < self.count:
            raise ConditionerError(
                f"data set ids must be from 0 to {self.count - 1}; {', '.join(wrong) or none} is not"
            )
        taken = [name for name, number in self.ids.items() if number == none]
        if taken and self.unconditional is None:
            raise ConditionerError(f"data set id {none} means none of them; {taken[0]} needs another")

    @property
    def none(self) -> int:
        """The number of "no data set"."""
        return self._none

    def of(self, names: Sequence[str | None]) -> torch.Tensor:
        """(N,) int64; None is no data set. ConditionerError for a name that has no number."""
        unknown = sorted({name for name in names if name is not None and name not in self.ids})
        if unknown:
            known = ", ".join(self.ids) or "none"
            raise ConditionerError(f"data set {unknown[0]!r} has no id; the model knows {known}")
        return torch.tensor([self._none if name is None else self.ids[name] for name in names], dtype=torch.int64)

    def one_hot(self, ids_B: torch.Tensor) -> torch.Tensor:
        """(N,) -> (N, count) float32."""
        return torch.nn.functional.one_hot(ids_B, self.count).float()


def numbered(names: Sequence[str], count: int = 32) -> DatasetIds:
    """Data sets in the order given, from 0."""
    return DatasetIds({name: number for number, name in enumerate(dict.fromkeys(names))}, count)
