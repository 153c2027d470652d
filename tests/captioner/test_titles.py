import random

import pytest

from captioner.titles import invent, subject


@pytest.mark.parametrize(
    ("label", "thing"),
    [("a wooden door closing", "wooden door"), ("footsteps on ice", "footsteps"), ("a gong being struck", "gong")],
)
def test_the_thing_of_a_label(label, thing):
    assert subject(label) == thing


def test_titles_help_mislead_and_are_missing():
    rng = random.Random(0)
    told = [invent(("a dog barking",), ("Dog1.wav",), rng) for _ in range(2000)]
    missing = sum(not m.title for m in told) / len(told)
    helping = sum("dog" in m.title.lower() for m in told) / len(told)
    assert 0.4 < missing < 0.5
    assert 0.25 < helping < 0.45
    assert any("dog" in m.video_caption for m in told)
    assert all(m.description == "" for m in told)
