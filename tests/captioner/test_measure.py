import numpy as np
import pytest

from captioner.load import Captioned
from captioner.measure import Nearest, head_noun, measure, verbs_of
from scorer.sounds import Sound

LABELS = ("a wooden door closing", "crickets chirping", "a bass drum", "footsteps on ice", "running water")
VERBS = verbs_of(LABELS)


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


class Parrot:
    """Says the same of everything, and the title where there is one."""

    def caption(self, waves, *, metadata=None):
        return [
            Captioned(m.title if m else "water runs while crickets chirp", -1.0)
            for m in metadata or [None] * len(waves)
        ]


def test_answers_are_judged_beside_constants_and_neighbours():
    held_out = [Sound(np.ones(10), label, "made", "sfx", "x.wav") for label in LABELS]
    found = measure(Parrot(), held_out, [*LABELS, "crickets chirping"], {"oracle": LABELS})
    answers = found["answers"]
    assert answers["oracle"]["head_noun_right_percent"] == [100, 100, 100]
    assert answers["oracle"]["cider_d"][0] > answers["captioner"]["cider_d"][0] > 0
    assert answers["captioner"]["head_noun_right_percent"][0] == 20
    assert answers["captioner"]["sound_named_percent"][0] == 40
    assert answers["commonest label of training"]["head_noun_right_percent"][0] == 20
    assert found["noun_in_training_percent"] == 100


def test_the_nearest_recording_is_the_one_most_alike():
    def sound(values, label):
        return Sound(np.array(values, dtype=float), label, "made", "sfx", "x.wav")

    trained = [sound([1, 0], "a"), sound([0, 1], "b"), sound([-1, -1], "c")]
    assert Nearest(np.stack, trained).labels([sound([0.1, 0.9], ""), sound([-2, -1], "")]) == ["b", "c"]
