"""How good a captioner is on recordings it never heard, beside answers that listen to nothing.

    python -m captioner.measure --sounds DIR [--model embedded] [--packages gcompris-qt-data]

Head noun: the thing that the caption's first clause is about, compared with the label's after a plain plural strip.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

from captioner.load import Captioner, Metadata, load_captioner
from captioner.titles import FORMS, subject
from scorer.sentences import clause
from scorer.sounds import MEASURE_PACKAGES, Sound, read_sounds

VERBS_AFTER = {"is", "are", "with", "in", "on", "at", "over", "being", "by", "while", "and", "from", "of"}


def head_noun(text: str, verbs: frozenset[str]) -> str:
    """The last word before the first verb or preposition: "a wooden door closes" -> "door"."""
    words = [w.strip(",.") for w in text.lower().split()]
    words = [w for w in words if w not in {"a", "an", "the"}]
    end = next((k for k, w in enumerate(words) if k and (w in verbs or w in VERBS_AFTER)), len(words))
    noun = words[end - 1] if words else ""
    return noun[:-1] if noun.endswith("s") and not noun.endswith("ss") else noun


def verbs_of(sounds: list[Sound]) -> frozenset[str]:
    """The words that can follow a head noun: what turning labels into clauses added, and all -ing forms there."""
    out: set[str] = set()
    for sound in sounds:
        label, said = sound.label.lower().split(), clause(sound.label).lower().split()
        out |= set(said) - set(label) | {w for w in label if w.endswith("ing") and w not in {"string", "ring"}}
    return frozenset(out - {"someone", "water", "birds", "are", "is"})


def measure(captioner: Captioner, held_out: list[Sound], trained: list[Sound]) -> dict[str, object]:
    verbs = verbs_of(held_out + trained)
    wanted = [head_noun(clause(s.label), verbs) for s in held_out]
    heads = Counter(head_noun(clause(s.label), verbs) for s in trained)
    waves = [s.wave for s in held_out]
    titles = [Metadata(title=FORMS[k % len(FORMS)].format(subject(s.label))) for k, s in enumerate(held_out)]
    heard = [c.text for c in captioner.caption(waves)]
    told = [c.text for c in captioner.caption(waves, metadata=titles)]

    def right(said: list[str]) -> float:
        return round(100 * sum(head_noun(a, verbs) == b for a, b in zip(said, wanted, strict=True)) / len(wanted), 1)

    common = heads.most_common(1)[0][0]
    return {
        "clips": len(held_out),
        "head_noun_right_percent": right(heard),
        "head_noun_right_with_title_percent": right(told),
        "constant_from_training_percent": round(100 * wanted.count(common) / len(wanted), 1),
        "best_constant_on_test_percent": round(100 * Counter(wanted).most_common(1)[0][1] / len(wanted), 1),
        "ceiling_noun_in_training_percent": round(100 * sum(w in heads for w in wanted) / len(wanted), 1),
        "different_captions": len(set(heard)),
        "examples": [f"{s.label} -> {text}" for s, text in list(zip(held_out, heard, strict=True))[::7]],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sounds", type=Path, required=True, help="what tools/sounds/get_sounds.py unpacked")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--packages", nargs="+", default=MEASURE_PACKAGES, help="recordings kept out of training")
    args = parser.parse_args()
    report = measure(load_captioner(args.model), read_sounds(args.sounds, only=args.packages), read_sounds(args.sounds))
    sys.stdout.write(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
