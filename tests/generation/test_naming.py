"""Names of files never collide and are safe on any disk, whatever a prompt holds."""

import os

import pytest

from generation.naming import SLUG_CHARACTERS, file_names, reference_name, slug, stem_of
from generation.prompts import Asked


def names(*texts):
    return file_names([Asked("", text) for text in texts])


def test_readable_and_told_apart():
    assert names("Rain on a roof", "rain on a roof!", "Rain on a roof") == [
        "rain-on-a-roof-96c53014", "rain-on-a-roof-91e18051", "rain-on-a-roof-96c53014-2"
    ]  # fmt: skip


def test_ids_are_names_where_a_disk_can_hold_them():
    asked = [
        Asked(name, "rain") for name in ("-hmGHOQhM6U", "a.b", "A.B", "../x", "con", ".hidden", "x/y", "é", "a" * 300)
    ]
    found = file_names(asked)
    assert found[:2] == ["-hmGHOQhM6U", "a.b"]
    assert found[2] == "A.B-2"  # a disk may know no capitals
    assert found[3].startswith("x-")
    assert found[4].startswith("con-")
    assert len({name.lower() for name in found}) == len(found)


def test_a_number_that_is_a_name_already_is_passed_over():
    assert file_names([Asked("a-2", "x"), Asked("a", "x"), Asked("a", "x")]) == ["a-2", "a", "a-3"]


HARD = [
    "a" * 5000,
    "word " * 1000,
    "../../etc/passwd",
    "a\0b",
    "雨の音",
    "🌧",
    "",
    "\u202egnp.exe",
    "CON",
    "a\nb",
    "\ud800",
]


@pytest.mark.parametrize("text", HARD)
def test_any_text_gives_a_name_that_a_disk_takes(text, tmp_path):
    stem = stem_of(Asked("", text))
    assert len(stem) <= SLUG_CHARACTERS + 9
    assert stem == os.path.basename(stem)
    (tmp_path / f"{stem}.wav").write_bytes(b"")
    assert [path.stem for path in tmp_path.iterdir()] == [stem]


def test_hard_texts_are_told_apart():
    assert len(set(names(*HARD))) == len(HARD)
    assert slug("word " * 100).endswith("-word")
    assert slug("雨") == "prompt"


def test_the_references_names_are_what_it_seeds_with():
    assert reference_name(Asked("", "Horses growl and clop hooves.")) == "Horses_growl_and_clop_hooves."
    assert reference_name(Asked("", 'a dog\'s "woof"')) == "a_dog_s__woof_"
    assert reference_name(Asked("clip7", "a dog")) == "clip7"
