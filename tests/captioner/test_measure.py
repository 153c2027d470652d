import numpy as np
import pytest

from captioner.measure import head_noun, verbs_of
from scorer.sounds import Sound

LABELS = ("a wooden door closing", "crickets chirping", "a bass drum", "footsteps on ice", "running water")
VERBS = verbs_of([Sound(np.zeros(1), label, "p", "sfx", "n") for label in LABELS])


@pytest.mark.parametrize(
    ("text", "noun"),
    [
        ("a wooden door closes while water runs", "door"),
        ("crickets chirp in the background", "cricket"),
        ("a bass drum sounds", "drum"),
        ("footsteps are heard on ice", "footstep"),
        ("water runs", "water"),
        ("", ""),
    ],
)
def test_the_head_noun_of_a_caption(text, noun):
    assert head_noun(text, VERBS) == noun
