from pathlib import Path

import pyarrow as pa
import pytest

from stages.base import Services
from stages.keywords import Keywords


def opened(**options):
    stage = Keywords(**options)
    stage.open(Services(run_root=".", cache_dir=Path()))
    return stage


@pytest.mark.parametrize(
    ("caption", "reason"),
    [
        ("A man is talking while rain falls", "speech_word"),
        ("A woman speaks, then a door closes", "speech_word"),
        ("Someone WHISPERS softly", "speech_word"),
        ("A voice-over with traffic", "speech_word"),
        ("Acoustic guitar is played", "music_word"),
        ("Birds chirp and a choir sings", "music_word"),
        ("A person is singing in the shower", "music_word"),
        ("", "no_caption"),
        (None, "no_caption"),
    ],
)
def test_speech_and_music_are_dropped_with_their_reason(caption, reason):
    assert opened().judge(caption).reason == reason


@pytest.mark.parametrize(
    "caption",
    [
        "A bird is singing in a tree",
        "Birds singing and wind blowing",
        "The low hum of an engine",
        "A kettle on the stove is singing",
        "A single drop of water falls",
        "Rain drums on a roof",
        "A heartbeat",
        "Someone is typing on a keyboard",
        "A hummingbird hovers",
        "Monkeys screaming in the forest",
    ],
)
def test_what_only_sounds_like_such_words_is_kept(caption):
    assert opened().judge(caption) is None


def test_switches_and_own_words():
    assert opened(speech=False).judge("a man talks") is None
    assert opened(music=False).judge("a guitar") is None
    assert opened(extra_words=["glitch art"]).judge("Glitch art noises").reason == "extra_word"
    assert opened(exceptions=["talking clock"]).judge("a talking clock ticks") is None


def test_it_ends_rows_and_adds_none():
    table = pa.table({"caption": ["a dog barks", "a man talks"]})
    out = opened().run(table)
    assert out.column("reason").to_pylist() == [None, "speech_word"]
    assert "talks" in out.column("detail").to_pylist()[1]
