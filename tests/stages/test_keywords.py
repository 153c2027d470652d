from pathlib import Path

import pyarrow as pa
import pytest

from stages.base import Services
from stages.keywords import Keywords
from stages.registry import StageError, build_stage


def run(*captions, **options):
    stage = Keywords(**options)
    stage.open(Services(run_root=".", cache_dir=Path()))
    out = stage.run(
        pa.table({"clip_id": list(map(str, range(len(captions)))), "caption": pa.array(captions, pa.string())})
    )
    for field in stage.adds:
        assert out.schema.field(field.name).type == field.type
    return out.to_pylist()


def test_words_end_their_clip_with_their_lists_name_and_are_kept_as_a_column():
    rain, talk, song = run("rain falls", "a man talks over music", "a woman sings")
    assert (rain["outcome"], rain["speech_word"], rain["music_word"]) == (None, None, None)
    assert (talk["outcome"], talk["reason"]) == ("filtered", "speech_word")
    assert (talk["speech_word"], talk["music_word"]) == ("talks", "music")
    assert "talks" in talk["detail"]
    assert (song["reason"], song["music_word"]) == ("music_word", "sings")


@pytest.mark.parametrize("caption", ["", "  ", None])
def test_an_empty_caption_is_dropped(caption):
    (row,) = run(caption)
    assert (row["outcome"], row["reason"]) == ("filtered", "no_caption")


def test_a_recipe_may_leave_the_decision_to_select():
    rows = run("a man talks", "a guitar", "glitch art", None, end_clips=False, extra_words=["glitch art"])
    assert {row.get("outcome") for row in rows} == {None}
    assert [row["speech_word"] for row in rows] == ["talks", None, None, None]
    assert [row["music_word"] for row in rows] == [None, "guitar", None, None]
    assert [row["extra_word"] for row in rows] == [None, None, "glitch art", None]


def test_a_list_that_is_switched_off_ends_nothing_but_is_looked_up():
    (talk,) = run("a man talks", speech=False)
    (guitar,) = run("a guitar", music=False)
    assert (talk["outcome"], talk["speech_word"]) == (None, "talks")
    assert (guitar["outcome"], guitar["music_word"]) == (None, "guitar")


def test_own_words_come_first_and_own_exceptions_excuse():
    (extra,) = run("Glitch-art noises and talk", extra_words=["glitch art"])
    assert (extra["reason"], extra["extra_word"], extra["speech_word"]) == ("extra_word", "glitch art", "talk")
    assert run("a talking clock ticks", exceptions=["talking clock"])[0]["outcome"] is None


def test_a_parrot_may_talk_where_the_recipe_says_so():
    assert run("a parrot talks")[0]["reason"] == "speech_word"
    assert run("a parrot talks", talking_animals=True)[0]["outcome"] is None


def test_a_phrase_without_a_word_is_refused():
    with pytest.raises(StageError, match="no word in it"):
        build_stage("keywords", {"extra_words": ["--"]})
    with pytest.raises(StageError, match=r"exceptions\.0"):
        build_stage("keywords", {"exceptions": [""]})


def test_no_clips_are_no_trouble():
    assert run() == []
