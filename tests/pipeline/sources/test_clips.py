"""Tables of clips with given times, in every form that people keep them."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from pipeline.config import Plan
from pipeline.config_sources import ClipListSource
from pipeline.sources import ListReport, SourceError, read_sources

ID = "dQw4w9WgXcQ"
ROWS = [
    {
        "id": ID,
        "start_s": 30.5,
        "end_s": 36.0,
        "caption": "Rain",
        "clap_score": 0.5,
        "title": "First",
        "split": "train",
    },
    {"id": "x", "url": "https://example.com/a", "start_s": 0.0, "end_s": 5.0, "caption": None, "clap_score": None},
    {"id": f"https://youtu.be/{ID}", "start_s": 2.0, "end_s": 9.0, "caption": "Wind", "clap_score": 0.25},
    {"id": ID, "start_s": 30.5, "end_s": 36.0, "caption": "Rain again", "clap_score": 0.9},
    {"id": ID, "start_s": 5.0, "end_s": 3.0},
    {"id": None, "start_s": 5.0, "end_s": 9.0},
]


def write(path: Path, rows: list[dict]) -> Path:
    if path.suffix == ".csv":
        pd.DataFrame(rows).to_csv(path, index=False)
    elif path.suffix == ".parquet":
        pd.DataFrame(rows).to_parquet(path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path: Path, **keys) -> tuple[dict[str, dict], ListReport]:
    reports: list[ListReport] = []
    source = ClipListSource(type="clips", path=str(path), **keys)
    rows = [row for table in read_sources([source], Plan(), reports=reports) for row in table.to_pylist()]
    return {row["source_key"]: row for row in rows}, reports[0]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_clips_of_one_source_come_together_in_time_order(tmp_path: Path, suffix: str):
    rows, report = read(write(tmp_path / f"clips.{suffix}", ROWS), caption_model="me@given", clap_model="clap@1")
    first, other = rows[ID], rows["https://example.com/a"]
    assert [(clip["start_ms"], clip["end_ms"], clip["caption"]) for clip in first["clips"]] == [
        (2000, 9000, "Wind"),
        (30_500, 36_000, "Rain"),
    ]
    assert [clip["clap_score"] for clip in first["clips"]] == [0.25, 0.5]
    assert (first["title"], first["caption_model"], first["clap_model"]) == ("First", "me@given", "clap@1")
    assert json.loads(first["meta"]) == {"split": "train"}
    assert other["clips"] == [{"start_ms": 0, "end_ms": 5000, "caption": None, "clap_score": None}]
    assert report.left_out == {"reversed": 1, "duplicate": 1, "no_id": 1}
    assert (report.lines, report.sources, report.clips) == (6, 2, 3)
    assert report.examples == {"no_id": ["row 6"]}


def test_times_in_milliseconds(tmp_path: Path):
    path = write(tmp_path / "clips.parquet", [{"id": ID, "start_ms": 1001, "end_ms": 4003}])
    clip = read(path)[0][ID]["clips"][0]
    assert (clip["start_ms"], clip["end_ms"]) == (1001, 4003)


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        ("a.csv", [{"id": ID, "start": 1, "end": 2}], "no columns `start_s` and `end_s`"),
        ("a.csv", [{"video": ID, "start_s": 1, "end_s": 2}], "no column `url` or `id`"),
        ("a.csv", [{"id": ID, "start_s": 9, "end_s": 2}], "reversed 1"),
    ],
)
def test_tables_that_cannot_be_used_say_why(tmp_path: Path, name: str, rows: list, message: str):
    with pytest.raises(SourceError, match=message):
        read(write(tmp_path / name, rows))


def test_a_file_that_is_no_table(tmp_path: Path):
    path = tmp_path / "clips.txt"
    path.write_text(ID)
    with pytest.raises(SourceError, match="is no table"):
        read(path)
