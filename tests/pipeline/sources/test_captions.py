"""Clotho, WavCaps and AudioCaps as they are handed out: a table and a folder, read without renaming anything."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from pydantic import ValidationError

from pipeline.config import Plan
from pipeline.config_sources import CaptionTableSource
from pipeline.sources import ListReport, SourceError, read_sources

ID = "dQw4w9WgXcQ"


def read(path: Path, style: str, **keys) -> tuple[dict[str, dict], ListReport]:
    reports: list[ListReport] = []
    source = CaptionTableSource(type="captions", style=style, path=str(path), **keys)
    rows = [row for table in read_sources([source], Plan(), reports=reports) for row in table.to_pylist()]
    return {row["source_key"]: row for row in rows}, reports[0]


def put(folder: Path, *names: str) -> str:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return str(folder)


def test_clotho(tmp_path: Path):
    folder = put(tmp_path / "clotho", "development/Rain on a roof.wav", "evaluation/wind.wav", "notes.txt")
    table = tmp_path / "clotho.csv"
    captions = {f"caption_{n}": [f"rain, take {n}", f"wind, take {n}", "x"] for n in range(1, 6)}
    names = ["Rain on a roof.wav", "wind.wav", "../../etc/passwd"]
    pd.DataFrame({"file_name": names, **captions}).to_csv(table, index=False)
    rows, report = read(table, "clotho", folder=folder, name="clotho")
    rain = rows["clotho/development/Rain on a roof.wav"]
    assert (rain["kind"], rain["location"]) == ("file", f"{folder}/development/Rain on a roof.wav")
    assert rain["clips"] == [{"start_ms": 0, "end_ms": None, "caption": "rain, take 1", "clap_score": None}]
    assert json.loads(rain["meta"]) == {"captions": [f"rain, take {n}" for n in range(2, 6)]}
    assert rain["caption_model"] == "Clotho@published"
    assert (report.sources, report.left_out, report.examples) == (2, {"no_file": 1}, {"no_file": [names[2]]})
    assert f"{folder}/evaluation/wind.wav" in read(table, "clotho", folder=folder)[0]


def test_wavcaps(tmp_path: Path):
    folder = put(tmp_path / "flac", "1001.flac", f"Y{ID}.flac")
    table = tmp_path / "fsd_final.json"
    data = [
        {
            "id": "1001",
            "caption": "Rain falls.",
            "description": "my field recording",
            "author": "me",
            "href": "https://a",
        },
        {"id": f"Y{ID}.wav", "caption": "A dog barks.", "duration": 10.0},
        {"id": "1002", "caption": "Not downloaded."},
        {"id": "1001", "caption": ""},
    ]
    table.write_text(json.dumps({"num_captions_per_audio": 1, "data": data}))
    rows, report = read(table, "wavcaps", folder=folder)
    first = rows[f"{folder}/1001.flac"]
    assert (first["description"], first["uploader"], first["url"]) == ("my field recording", "me", "https://a")
    assert rows[f"{folder}/Y{ID}.flac"]["clips"][0]["caption"] == "A dog barks."
    assert report.left_out == {"no_file": 1, "no_caption": 1}


def test_audiocaps_from_youtube(tmp_path: Path):
    table = tmp_path / "test.csv"
    rows = [{"audiocap_id": n, "youtube_id": ID, "start_time": 30, "caption": f"caption {n}"} for n in range(3)] + [
        {"audiocap_id": 9, "youtube_id": ID, "start_time": 5, "caption": "earlier"}
    ]
    pd.DataFrame(rows).to_csv(table, index=False)
    found, report = read(table, "audiocaps")
    assert [(clip["start_ms"], clip["end_ms"], clip["caption"]) for clip in found[ID]["clips"]] == [
        (5000, 15_000, "earlier"),
        (30_000, 40_000, "caption 0"),
    ]
    assert json.loads(found[ID]["meta"]) == {"captions": ["caption 1", "caption 2"]}
    assert (found[ID]["kind"], report.clips, report.left_out) == ("url", 2, {})


def test_audiocaps_from_a_folder_of_its_cuts(tmp_path: Path):
    folder = put(tmp_path / "waveforms", f"Y{ID}.wav")
    table = tmp_path / "train.csv"
    table.write_text(f"audiocap_id,youtube_id,start_time,caption\n1,{ID},30,A dog barks\n")
    rows, _ = read(table, "audiocaps", folder=folder)
    assert rows[f"{folder}/Y{ID}.wav"]["clips"] == [
        {"start_ms": 0, "end_ms": None, "caption": "A dog barks", "clap_score": None}
    ]


def test_other_column_names(tmp_path: Path):
    folder = put(tmp_path / "mine", "a.wav")
    table = tmp_path / "mine.jsonl"
    table.write_text('{"audio": "a.wav", "text": "A bell"}\n')
    with pytest.raises(SourceError, match="no column file_name, caption_1; it has audio, text"):
        read(table, "clotho", folder=folder)
    rows, _ = read(table, "clotho", folder=folder, columns={"file": "audio", "captions": ["text"]}, caption_model="me")
    assert [(row["caption_model"], row["clips"][0]["caption"]) for row in rows.values()] == [("me", "A bell")]


def test_a_name_that_two_files_have(tmp_path: Path):
    folder = put(tmp_path / "two", "x/a.wav", "y/a.wav")
    table = tmp_path / "two.csv"
    table.write_text("file_name,caption_1\na.wav,which?\ny/a.wav,this one\n")
    rows, report = read(table, "clotho", folder=folder)
    assert set(rows) == {f"{folder}/y/a.wav"}
    assert report.left_out == {"two_files": 1}


def test_only_audiocaps_may_be_fetched():
    with pytest.raises(ValidationError, match="needs the `folder`"):
        CaptionTableSource(type="captions", style="clotho", path="a.csv")


def test_json_that_is_not_wavcaps(tmp_path: Path):
    path = tmp_path / "a.json"
    path.write_text('{"data": 3}')
    with pytest.raises(SourceError, match="not WavCaps' JSON"):
        read(path, "wavcaps", folder=put(tmp_path / "f", "a.wav"))
