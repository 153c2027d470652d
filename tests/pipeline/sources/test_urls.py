"""Lists of URLs in every form that people keep them."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from pipeline.config_sources import UrlListSource
from pipeline.sources import SourceError, read_sources
from pipeline.sources.urls import read_urls

ID = "dQw4w9WgXcQ"


def read(path: Path):
    return list(read_urls(UrlListSource(type="urls", path=str(path))))


def test_text_with_comments_blank_lines_and_a_byte_order_mark(tmp_path: Path):
    path = tmp_path / "list.txt"
    path.write_bytes(f"\ufeff# videos\r\n{ID}\r\n\r\n  https://example.com/a  \n-_dash_id-0\n".encode())
    assert [entry.source_key for entry in read(path)] == [ID, "https://example.com/a", "-_dash_id-0"]


def test_items_come_before_the_file(tmp_path: Path):
    path = tmp_path / "list.txt"
    path.write_text("https://example.com/b\n")
    entries = read_urls(UrlListSource(type="urls", path=str(path), items=[ID, " "]))
    assert [entry.source_key for entry in entries] == [ID, "https://example.com/b"]


ROWS = [
    {"id": ID, "title": "A title, with a comma", "license": "CC0", "label": "dog"},
    {"id": "x1", "url": "https://example.com/a", "video_caption": "a dog"},
    {"url": "http://127.0.0.1:1/watch/rain", "source_key": "rain"},
    {"url": "", "id": ""},
]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_tables(tmp_path: Path, suffix: str):
    path = tmp_path / f"list{suffix}"
    table = pd.DataFrame(ROWS)
    if suffix == ".csv":
        table.to_csv(path, index=False)
    elif suffix == ".parquet":
        table.to_parquet(path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    first, second, third = read(path)
    assert (first.source_key, first.title, first.license) == (ID, "A title, with a comma", "CC0")
    assert json.loads(first.meta or "") == {"label": "dog"}
    assert (second.location, second.video_caption) == ("https://example.com/a", "a dog")
    assert json.loads(second.meta or "") == {"id": "x1"}
    assert (third.source_key, third.location) == ("rain", "http://127.0.0.1:1/watch/rain")


def test_large_csv_is_read_in_pieces(tmp_path: Path):
    path = tmp_path / "list.csv"
    path.write_text("url\n" + "".join(f"https://example.com/{n}\n" for n in range(60_001)))
    assert sum(1 for _ in read_urls(UrlListSource(type="urls", path=str(path)))) == 60_001


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "name,link\na,b\n", "no column `url` or `id`"),
        ("a.jsonl", '{"url": "https://a/"}\n{broken\n', "cannot be read"),
        ("a.jsonl", "[1]\n", "line 1"),
        ("a.parquet", "not parquet", "cannot be read"),
        ("a.txt", "", "lists no source"),
        ("a.csv", "", "lists no source"),
        ("a.txt", "# only a comment\n", "lists no source"),
    ],
)
def test_lists_that_cannot_be_used_say_why(tmp_path: Path, name: str, text: str, message: str):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(SourceError, match=message):
        list(read_sources([UrlListSource(type="urls", path=str(path))]))


def test_no_list_at_all(tmp_path: Path):
    with pytest.raises(SourceError, match="is not there"):
        list(read_sources([UrlListSource(type="urls", path=str(tmp_path / "none.txt"))]))
    with pytest.raises(SourceError, match="the recipe lists none"):
        list(read_sources([]))
