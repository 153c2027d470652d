import numpy as np
import pytest

from captioner.names import Names

CLASSES = ("Animal", "Bark", "Dog", "Meow", "Cat")


@pytest.fixture(scope="module")
def names():
    import yaml

    from captioner import names as module

    content = yaml.safe_load((module.Path(module.__file__).parent / "classes.yaml").read_text())
    every = [c for own in content["names"].values() for c in own]
    return Names(["a goblin grunting"], [*CLASSES, *(c for c in every if c not in CLASSES)])


def loud(names, **classes):
    row = np.zeros((1, 521), np.float32)
    for name, value in classes.items():
        row[0, CLASSES.index(name)] = value
    return row


def test_classes_are_called_by_their_names_and_vague_ones_count_less(names):
    called = names.from_classes(loud(names, Animal=0.9, Bark=0.5))
    assert names.all[called[0].argmax()] == "a dog barking"
    assert called[0, names.index["an animal growling"]] == pytest.approx(0.27)
    assert names.wild_labels(called) == [("a dog barking",)]


def test_of_two_sounds_as_loud_both_are_said_and_of_silence_nothing(names):
    assert set(names.wild_labels(names.from_classes(loud(names, Dog=0.6, Meow=0.55)))[0]) == {
        "a dog barking",
        "a cat meowing",
    }
    assert names.wild_labels(names.from_classes(loud(names))) == [()]


def test_a_label_is_half_of_a_naming_and_the_teacher_the_other(names):
    called = names.from_classes(loud(names, Dog=0.8))
    naming, weights = names.naming([("a goblin grunting",)], called, 0.5)
    assert naming.sum() == pytest.approx(1)
    assert naming[0, names.index["a goblin grunting"]] == pytest.approx(0.5)
    assert weights[0] == 1
    naming, weights = names.naming([()], called, 0.5)
    assert naming[0, names.index["a dog barking"]] == pytest.approx(1)
    assert weights[0] == 0.5
