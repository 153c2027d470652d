"""One source, one key, one id, however it is written; and no name from outside in an id."""

from __future__ import annotations

import re

import pytest

from pipeline.sources.entry import SourceEntry, canonical, from_table, source_id_of, to_table, youtube_id
from stages.page_texts import clean

ID = "dQw4w9WgXcQ"


@pytest.mark.parametrize(
    "text",
    [
        ID,
        f" {ID} ",
        f"https://www.youtube.com/watch?v={ID}",
        f"http://youtube.com/watch?list=PL123&v={ID}&t=42s",
        f"https://m.youtube.com/watch?v={ID}#comments",
        f"https://music.youtube.com/watch?v={ID}",
        f"https://youtu.be/{ID}?t=7",
        f"youtu.be/{ID}",
        f"https://www.youtube.com/shorts/{ID}",
        f"https://www.youtube.com/live/{ID}?feature=share",
        f"https://www.youtube-nocookie.com/embed/{ID}",
    ],
)
def test_every_way_to_write_a_youtube_video(text: str):
    assert canonical(text) == (ID, f"https://www.youtube.com/watch?v={ID}")
    assert source_id_of(canonical(text)[0]) == ID


@pytest.mark.parametrize(
    "text",
    [
        "https://www.youtube.com/watch?v=short",
        "https://www.youtube.com/playlist?list=PLdQw4w9WgXcQ",
        f"https://youtube.com.evil.example/watch?v={ID}",
        f"https://example.com/watch?v={ID}",
        "http://[broken",
    ],
)
def test_what_is_no_youtube_video(text: str):
    assert youtube_id(text) is None


def test_other_urls_keep_query_but_not_fragment_or_spelling_of_the_host():
    assert canonical("HTTP://Example.COM/A?b=1#c")[0] == "http://example.com/A?b=1"
    assert canonical("https://example.com")[0] == "https://example.com/"
    assert canonical("not a url") == ("not a url", "not a url")


@pytest.mark.parametrize("key", ["../../etc/passwd", "a/b.c", "ünïcode 🎧", "x" * 300, "", "/sounds/rain.ogg"])
def test_ids_are_safe_in_file_names(key: str):
    assert re.fullmatch(r"x[0-9a-f]{20}", source_id_of(key))
    assert source_id_of(key) == source_id_of(key)


def test_entries_survive_a_table():
    entries = [
        SourceEntry(source_key="k", kind="url", location="http://a/", title="ü", meta='{"a": 1}'),
        SourceEntry(source_key="/a.ogg", kind="file", location="/a.ogg", sidecar="/a.json"),
    ]
    assert from_table(to_table(entries)) == entries


def test_text_that_arrow_cannot_hold_is_cleaned():
    assert clean("a\ud800b\0c") == "a?bc"
    assert clean("abc", 2) == "ab"
