"""What can be named: the labels of the recordings and, for all else that the teacher knows, a label for its classes.

A scene's naming is a distribution over these names. A labelled scene's comes from its labels and for some share from
the teacher, a wild one's from the teacher alone; so nouns that no recording's label holds are learned too.

Shapes: N scenes, C = 521 classes, K names.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

VAGUE_WEIGHT = 0.3
#: A class that the teacher holds for likelier than this may be said of a wild scene.
LIKELY = 0.25


class Names:
    """The fixed, sorted list of names, and what the teacher's classes are called."""

    def __init__(self, labels: Iterable[str], classes: Sequence[str]) -> None:
        import yaml

        content = yaml.safe_load((Path(__file__).parent / "classes.yaml").read_text())
        self.all = sorted({*labels, *content["names"]})
        self.index = {name: k for k, name in enumerate(self.all)}
        self._called = [(classes.index(c), self.index[name]) for name, own in content["names"].items() for c in own]
        self._weight = np.ones(len(classes), dtype=np.float32)
        self._weight[[classes.index(c) for c in content["vague"]]] = VAGUE_WEIGHT

    def from_classes(self, loudness_NC: np.ndarray) -> np.ndarray:
        """(N, K): how loud the loudest class of each name is."""
        out = np.zeros((len(loudness_NC), len(self.all)), dtype=np.float32)
        for heard, name in self._called:
            out[:, name] = np.maximum(out[:, name], loudness_NC[:, heard] * self._weight[heard])
        return out

    def naming(
        self, labels: Sequence[tuple[str, ...]], named_NK: np.ndarray, teacher_share: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """(N, K) distributions and (N,) weights; `named_NK` is what `from_classes` makes of the teacher's classes.

        `teacher_share`: how much of a labelled scene's naming the teacher says.
        """
        told = named_NK**2
        told /= told.sum(axis=1, keepdims=True) + 1e-9
        weights = 0.5 * np.minimum(1.0, named_NK.max(axis=1) / 0.4)
        for row, own in enumerate(labels):
            if own:
                told[row] *= teacher_share
                told[row, [self.index[label] for label in own]] += (1 - teacher_share) / len(own)
                weights[row] = 1.0
        return told, np.asarray(weights, dtype=np.float32)

    def wild_labels(self, named_NK: np.ndarray) -> list[tuple[str, ...]]:
        """What may be said of scenes without labels: the likeliest name and a second almost as likely, or nothing."""
        out: list[tuple[str, ...]] = []
        for row in named_NK:
            second, first = np.argsort(row)[-2:]
            if row[first] <= LIKELY:
                out.append(())
            elif row[second] > max(0.3, 0.8 * row[first]):
                out.append((self.all[first], self.all[second]))
            else:
                out.append((self.all[first],))
        return out
