import json
from pathlib import Path

import pytest

from scorer.sentences import caption, clause

LABELS = Path(__file__).parents[2] / "tools" / "sounds" / "labels.jsonl"


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("a dog barking", "a dog barks"),
        ("running water", "water runs"),
        ("a cow mooing", "a cow moos"),
        ("a baby crying", "a baby cries"),
        ("crickets chirping", "crickets chirp"),
        ("a door closing", "a door closes"),
        ("a wooden door closing", "a wooden door closes"),
        ("a gong being struck", "a gong is struck"),
        ("a gate opening and closing", "a gate opens and closes"),
        ("a sewing machine running", "a sewing machine runs"),
        ("chopping wood", "someone chops wood"),
        ("something plunging into water", "something plunges into water"),
        ("footsteps on ice", "footsteps are heard on ice"),
        ("a church bell", "a church bell rings"),
        ("medieval music", "medieval music plays"),
        ("leaves rustling", "leaves rustle"),
        ("electric sparks crackling", "electric sparks crackle"),
        ("machinery working in a mine", "machinery works in a mine"),
    ],
)
def test_a_label_becomes_a_clause(label, said):
    assert clause(label) == said


def test_every_label_of_the_recordings_becomes_a_clause_with_a_verb():
    labels = {json.loads(line)["label_text"] for line in LABELS.read_text().splitlines()}
    assert len(labels) > 300
    for label in labels:
        assert clause(label) != label


def test_scenes_become_one_sentence():
    dog, water, bell = "a dog barking", "running water", "a bell ringing"
    assert caption((dog, water), "while") == "a dog barks while water runs"
    assert caption((dog, water), "then") == "a dog barks, then water runs"
    assert caption((dog, water), "background") == "a dog barks while water runs in the background"
    assert caption((dog, water, bell), "while") == "a dog barks while water runs and a bell rings"
    assert caption((dog,), "alone") == "a dog barks"
