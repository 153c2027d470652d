"""How good a captioner is on recordings it never heard, beside answers that are cheaper.

    python -m captioner.measure --sounds DIR [--model embedded] [--packages gcompris-qt-data] [--teachers TEACHERS]

Each recording alone, once without and once with a made title; its reference is its label as a clause. Beside it: the
commonest label of training for every clip, and the label of the nearest training recording, by the embedded scorer's
embedding and, with --teachers, by YAMNet's features. Head noun: the thing that the caption's first clause is about,
compared with the label's after a plain plural strip. Intervals are bootstraps over the clips.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from captioner.load import Captioner, Metadata, load_captioner
from captioner.metrics.cider import cider_d
from captioner.metrics.tokens import tokenize
from captioner.titles import FORMS, subject
from scorer.load import load_scorer
from scorer.measure import mean_of, with_interval
from scorer.sentences import clause
from scorer.sounds import MEASURE_PACKAGES, Sound, read_sounds

VERBS_AFTER = {"is", "are", "with", "in", "on", "at", "over", "being", "by", "while", "and", "from", "of"}
Report = dict[str, Any]


def head_noun(text: str, verbs: frozenset[str]) -> str:
    """The last word before the first verb or preposition: "a wooden door closes" -> "door"."""
    words = [w.strip(",.") for w in text.lower().split()]
    words = [w for w in words if w not in {"a", "an", "the"}]
    end = next((k for k, w in enumerate(words) if k and (w in verbs or w in VERBS_AFTER)), len(words))
    return singular(words[end - 1]) if words else ""


def singular(noun: str) -> str:
    return noun[:-1] if noun.endswith("s") and not noun.endswith("ss") else noun


def verbs_of(labels: Sequence[str]) -> frozenset[str]:
    """The words that can follow a head noun: what turning labels into clauses added, and all -ing forms there."""
    out: set[str] = set()
    for text in labels:
        label, said = text.lower().split(), clause(text).lower().split()
        out |= set(said) - set(label) | {w for w in label if w.endswith("ing") and w not in {"string", "ring"}}
    return frozenset(out - {"someone", "water", "birds", "are", "is"})


class Judge:
    """Held-out recordings and what should be said of them."""

    def __init__(self, held_out: Sequence[str], trained: Sequence[str]) -> None:
        self._verbs = verbs_of([*held_out, *trained])
        self.references = [clause(label) for label in held_out]
        self.wanted = [self.noun(text) for text in self.references]

    def noun(self, text: str) -> str:
        return head_noun(text, self._verbs)

    def cider(self, said: Sequence[str]) -> np.ndarray:
        return cider_d([tokenize(text) for text in said], [[tokenize(text)] for text in self.references])

    def of(self, said: Sequence[str]) -> Report:
        """`named`: the wanted noun stands anywhere in the caption."""
        pairs = list(zip(said, self.wanted, strict=True))
        right = np.array([100.0 * (self.noun(text) == noun) for text, noun in pairs])
        named = np.array([100.0 * (noun in {singular(w.strip(",.")) for w in text.split()}) for text, noun in pairs])
        return {
            "head_noun_right_percent": figure(right, 1),
            "sound_named_percent": figure(named, 1),
            "cider_d": figure(self.cider(said), 3),
        }


def figure(per_clip: np.ndarray, digits: int) -> list[float]:
    """Mean, and the ends of its 95 % interval."""
    return [round(value, digits) for value in with_interval(partial(mean_of, per_clip), len(per_clip))]


def measure(
    captioner: Captioner, held_out: list[Sound], trained: Sequence[str], neighbours: Mapping[str, Sequence[str]]
) -> Report:
    """`trained`: the labels of training, one per recording; `neighbours[name][k]`: the label nearest to clip k."""
    judge = Judge([s.label for s in held_out], trained)
    waves = [s.wave for s in held_out]
    titles = [Metadata(title=FORMS[k % len(FORMS)].format(subject(s.label))) for k, s in enumerate(held_out)]
    heard = [c.text for c in captioner.caption(waves)]
    constants = [clause(label) for label in dict.fromkeys(s.label for s in held_out)]
    best = max(constants, key=lambda text: judge.cider([text] * len(held_out)).mean())
    answers = {
        "captioner": heard,
        "captioner, told a title": [c.text for c in captioner.caption(waves, metadata=titles)],
        "commonest label of training": [clause(Counter(trained).most_common(1)[0][0])] * len(held_out),
        "best constant, chosen here": [best] * len(held_out),
    } | {name: [clause(label) for label in labels] for name, labels in neighbours.items()}
    nouns = {judge.noun(clause(label)) for label in trained}
    return {
        "clips": len(held_out),
        "answers": {name: judge.of(said) for name, said in answers.items()},
        "commonest_noun_here_percent": round(100 * Counter(judge.wanted).most_common(1)[0][1] / len(held_out), 1),
        "noun_in_training_percent": round(100 * sum(w in nouns for w in judge.wanted) / len(held_out), 1),
        "different_captions": len(set(heard)),
        "examples": [f"{s.label} -> {text}" for s, text in list(zip(held_out, heard, strict=True))[::7]],
    }


class Nearest:
    """Finds the training recording whose embedding, less the mean of all, points the same way most."""

    def __init__(self, embed: Callable[[Sequence[np.ndarray]], np.ndarray], trained: list[Sound]) -> None:
        self._embed = embed
        known = embed([s.wave for s in trained])
        self._mean = known.mean(axis=0)
        self._known = self._directions(known)
        self._labels = [s.label for s in trained]

    def labels(self, held_out: list[Sound]) -> list[str]:
        strange = self._directions(self._embed([s.wave for s in held_out]))
        return [self._labels[k] for k in (strange @ self._known.T).argmax(axis=1)]

    def _directions(self, vectors: np.ndarray) -> np.ndarray:
        centred = vectors - self._mean
        return np.asarray(centred / np.linalg.norm(centred, axis=1, keepdims=True))


def report(
    captioner: Captioner, sounds: Path, sets: Sequence[Sequence[str]], teachers: Path | None = None
) -> dict[str, Report]:
    """All figures of each set of packages, beside the nearest neighbours'."""
    trained = read_sounds(sounds)
    neighbours = {"nearest training clip, scorer": Nearest(load_scorer().embed_audio, trained)}
    with tempfile.TemporaryDirectory() as scratch:
        if teachers:
            from scorer.teachers import YamnetFeatures

            neighbours["nearest training clip, YAMNet"] = Nearest(YamnetFeatures(teachers, Path(scratch)), trained)
        found = {}
        for packages in sets:
            held_out = read_sounds(sounds, only=packages)
            labels = {name: some.labels(held_out) for name, some in neighbours.items()}
            found["+".join(packages)] = measure(captioner, held_out, [s.label for s in trained], labels)
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sounds", type=Path, required=True, help="what tools/sounds/get_sounds.py unpacked")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--packages", nargs="+", default=MEASURE_PACKAGES, help="recordings kept out of training")
    parser.add_argument("--teachers", type=Path, help="pip's --target folder with YAMNet, for its nearest neighbour")
    args = parser.parse_args()
    found = report(load_captioner(args.model), args.sounds, [args.packages], args.teachers)
    sys.stdout.write(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
