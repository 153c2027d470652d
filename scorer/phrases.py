"""Phrases for the text tower to read: what could be heard, far beyond what the recordings hold.

A grammar of who does what where, things and instruments, pairs of them in both caption forms, and the class
names of the teacher. Text costs nothing: a wide reading is what lets a rare caption land near its like.
"""

from __future__ import annotations

import random
from pathlib import Path

from scorer.sentences import caption, clause


def _read(path: Path) -> tuple[dict[str, dict[str, list[str]]], dict[str, list[str]]]:
    """The vocabulary: things with their doings, and plain lists."""
    import yaml

    content = yaml.safe_load(path.read_text())
    doers = {
        k: {thing: doings.split() for thing, doings in v.items()} for k, v in content.items() if isinstance(v, dict)
    }
    return doers, {k: v.split(", ") for k, v in content.items() if isinstance(v, str)}


DOERS, WORDS = _read(Path(__file__).parent / "vocabulary.yaml")


def article(noun: str) -> str:
    return f"{'an' if noun[0].lower() in 'aeiou' else 'a'} {noun}"


def does(group: str, rng: random.Random) -> str:
    thing = rng.choice(list(DOERS[group]))
    return f"{article(thing)} {rng.choice(DOERS[group][thing])}"


def simple(rng: random.Random) -> str:
    """One source, as a label would name it."""
    pick = rng.random()
    if pick < 0.2:
        return does("animals", rng)
    if pick < 0.35:
        return f"{rng.choice(WORDS['people'])} {rng.choice(WORDS['human'])}"
    if pick < 0.43:
        return rng.choice(WORDS["actions"])
    if pick < 0.53:
        return f"{article(rng.choice(WORDS['vehicles']))} {rng.choice(WORDS['driving'])}"
    if pick < 0.65:
        return does("things", rng)
    if pick < 0.75:
        return rng.choice(WORDS["nature"])
    if pick < 0.88:
        form = rng.choice(("{} playing", "{} playing a note", "{} playing", "{}", "{} music"))
        name = rng.choice(WORDS["instruments"])
        return form.format(name if form.endswith("music") else article(name))
    if pick < 0.94:
        return f"{rng.choice(WORDS['genres'])} music" + rng.choice(("", " playing", " playing in the background"))
    return article(f"{rng.choice(WORDS['adjectives'])} {rng.choice(WORDS['noises'])}")


def phrase(rng: random.Random, heard: list[str]) -> str:
    """One to three sources of the grammar or of `heard`, in some form of caption."""
    labels = tuple(
        rng.choice(heard) if rng.random() < 0.3 else simple(rng) for _ in range(rng.choice((1, 1, 1, 2, 2, 3)))
    )
    if len(labels) == 1:
        text = clause(labels[0]) if rng.random() < 0.5 else labels[0]
        return f"{text} {rng.choice(WORDS['places'])}" if rng.random() < 0.25 else text
    return caption(labels, rng.choice(("while", "then", "background")) if len(labels) == 2 else "while", rng)


def phrases(count: int, heard: list[str], classes: list[str], seed: int) -> list[str]:
    """`count` different phrases: the heard labels and class names first, then the grammar's."""
    rng = random.Random(seed)
    found = dict.fromkeys([*heard, *(clause(label) for label in heard)])
    found |= dict.fromkeys([*classes, *(f"the sound of {name.lower()}" for name in classes)])
    while len(found) < count:
        found[phrase(rng, heard)] = None
    return list(found)
