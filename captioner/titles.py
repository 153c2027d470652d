"""Titles and visual captions for training scenes: some help, some mislead, many are missing.

Real titles are careless, so the captioner must use what helps and survive the rest. A third of the titles speak of
what is heard, a fifth of something else, the others are absent.
"""

from __future__ import annotations

import random

from captioner.load import Metadata
from scorer.phrases import simple

FORMS = (
    "{}",
    "{} sound",
    "{} sound effect",
    "my {}",
    "the {} again",
    "{} compilation",
    "{} at home",
    "amazing {} !!",
    "{} (HD)",
    "{} 2019",
    "listen to this {}",
    "{} in the morning",
    "relaxing {}",
    "{} part 2",
    "first day with the {}",
    "how to record a {}",
    "best of {}",
)
EMPTY_TITLES = (
    "holiday vlog",
    "untitled",
    "IMG 0034",
    "full match highlights",
    "a day in my life",
    "unboxing",
    "tutorial",
    "live stream",
    "test",
    "travel diary",
    "my new house",
    "episode 12",
    "review",
    "summer 2018",
    "trailer",
    "family video",
    "cooking with grandma",
    "interview",
)
SIGHTS = (
    "a {} in a room",
    "a {} on the grass",
    "a close up of a {}",
    "a {} in front of a house",
    "a picture of a {}",
    "a {} on a table",
    "a person next to a {}",
    "a {} outside",
)
EMPTY_SIGHTS = (
    "a man standing in front of a white wall",
    "a black screen",
    "a person holding a camera",
    "a logo on a white background",
    "a woman sitting on a chair",
    "a view of a city",
    "a road with trees",
    "a blurry picture of a room",
)


def subject(label: str) -> str:
    """The thing of a label: "a wooden door closing" -> "wooden door"."""
    words = [w for w in label.split() if w not in {"a", "an", "the", "someone"}]
    for at, word in enumerate(words):
        if at and (word.endswith("ing") or word in {"on", "in", "being"}):
            return " ".join(words[:at])
    return " ".join(words)


def invent(labels: tuple[str, ...], names: tuple[str, ...], rng: random.Random) -> Metadata:
    """Metadata for a scene in which `labels` are heard and whose recordings' files have `names`."""
    return Metadata(title=_title(labels, names, rng), video_caption=_sight(labels, rng))


def _title(labels: tuple[str, ...], names: tuple[str, ...], rng: random.Random) -> str:
    pick = rng.random()
    if pick < 0.45:
        return ""
    if pick < 0.72:
        return rng.choice(FORMS).format(subject(rng.choice(labels)))
    if pick < 0.80 and names:
        return rng.choice(names).rsplit(".", 1)[0].replace("_", " ")
    if pick < 0.94:
        return rng.choice(EMPTY_TITLES)
    return rng.choice(FORMS).format(subject(simple(rng)))


def _sight(labels: tuple[str, ...], rng: random.Random) -> str:
    pick = rng.random()
    if pick < 0.6:
        return ""
    if pick < 0.82:
        return rng.choice(SIGHTS).format(subject(rng.choice(labels)))
    return rng.choice(EMPTY_SIGHTS) if pick < 0.95 else rng.choice(SIGHTS).format(subject(simple(rng)))
