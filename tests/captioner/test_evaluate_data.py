"""Tables and shards of clips with captions: the layouts people have, and what is wrong with a line."""

import json

import numpy as np
import pytest
import soundfile

from audio.codec import encode
from captioner.evaluate import Clip, EvaluateError, Unheard
from captioner.evaluate_data import HEARD_MS, hear_rows, hear_shards, is_table, read_table, shards_at
from captioner.load import Metadata
from corpus.formats import Sample
from corpus.formats.webdataset import WebDatasetFormat
from training.errors import TrainError

RATE_HZ = 8000


def tone(seconds=0.5):
    return (0.3 * np.sin(np.arange(round(seconds * RATE_HZ)) * 0.5)).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    for name in ("a.wav", "b c.wav", "Yx-1_Z_30.wav", "q.flac"):
        soundfile.write(tmp_path / name, tone(), RATE_HZ)
    return tmp_path


def table(folder, text, name="t.csv"):
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def test_several_rows_of_a_file_are_its_references(folder):
    path = table(folder, 'file,caption,title\na.wav,"a dog, barking",Rex\nb c.wav,rain,\na.wav,a hound barks,\n')
    first, second = read_table(path)
    assert first.references == ("a dog, barking", "a hound barks")
    assert first.metadata == Metadata(title="Rex")
    assert second.references == ("rain",)
    assert [clip.name for clip in hear_rows([first, second])] == ["a.wav", "b c.wav"]


def test_clotho_s_own_table(folder):
    head = "file_name," + ",".join(f"caption_{k}" for k in range(1, 6))
    (row,) = read_table(table(folder, f"{head}\na.wav,one,two,three,four,five\n"))
    assert row.references == ("one", "two", "three", "four", "five")


def test_audiocaps_own_table_finds_files_by_the_video_s_id(folder):
    text = (
        "audiocap_id,youtube_id,start_time,caption\n1,x-1_Z,30,a dog\n2,x-1_Z,30,a hound\n3,q,0,rain\n4,gone,0,wind\n"
    )
    rows = read_table(table(folder, text), audio=str(folder))
    assert [(row.name, row.path and row.path.name) for row in rows] == [
        ("x-1_Z_30", "Yx-1_Z_30.wav"), ("q_0", "q.flac"), ("gone_0", None),
    ]  # fmt: skip
    assert rows[0].references == ("a dog", "a hound")


def test_json_lines_take_lists_and_metadata(folder):
    line = {"file": "a.wav", "captions": ["one", "two"], "video_caption": "a yard", "title": None, "description": "d"}
    (row,) = read_table(table(folder, json.dumps(line) + "\n\n", "t.jsonl"), keys=["title", "video_caption"])
    assert row.references == ("one", "two")
    assert row.metadata == Metadata(video_caption="a yard")


def test_sounds_are_looked_for_in_the_folder_named(folder, tmp_path_factory):
    path = table(tmp_path_factory.mktemp("elsewhere"), "file,caption\na.wav,a dog\n")
    assert read_table(path)[0].path is None
    (clip,) = hear_rows(read_table(path, audio=str(folder)))
    assert isinstance(clip, Clip)
    assert (clip.wave.size, clip.sample_rate_hz) == (4000, RATE_HZ)
    with pytest.raises(EvaluateError, match="is no folder"):
        read_table(path, audio=path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "file,caption\na.wav,a dog\na.wav,\n", "line 3: a line needs"),
        ("t.csv", "sound,caption\na.wav,a dog\n", "line 2: a line needs"),
        ("t.csv", "file,caption\n", "lists no clip"),
        ("t.csv", "", "lists no clip"),
        ("t.jsonl", '{"file": "a.wav", "caption": 3}\n', "line 1: a line needs"),
        ("t.jsonl", "{\n", "line 1 is not JSON"),
        ("t.jsonl", "[1]\n", "line 1: a line is one JSON object"),
    ],
)
def test_a_wrong_line_is_named(folder, name, text, message):
    with pytest.raises(EvaluateError, match=message):
        read_table(table(folder, text, name))


def test_a_table_that_cannot_be_read(folder):
    with pytest.raises(EvaluateError, match="cannot be read"):
        read_table(str(folder / "none.csv"))
    (folder / "bytes.csv").write_bytes(b"file,caption\n\xff\xfe,a\n")
    with pytest.raises(EvaluateError, match="cannot be read"):
        read_table(str(folder / "bytes.csv"))


def test_files_that_cannot_be_heard_have_a_reason(folder):
    (folder / "broken.wav").write_bytes(b"RIFF and nothing more")
    (folder / "zero.wav").write_bytes(b"")
    path = table(folder, "file,caption\nbroken.wav,a\nzero.wav,b\ngone.wav,c\n.,d\na.wav,e\n")
    found = list(hear_rows(read_table(path)))
    assert all(isinstance(one, Unheard) for one in found[:4])
    assert [one.reason for one in found[1:3]] == ["empty_file", "unreadable"]
    assert isinstance(found[4], Clip)


def test_of_a_long_file_the_beginning_is_heard(folder):
    soundfile.write(folder / "long.wav", tone(HEARD_MS / 1000 + 60), RATE_HZ)
    (clip,) = hear_rows(read_table(table(folder, "file,caption\nlong.wav,a tone\n")))
    assert isinstance(clip, Clip)
    assert clip.wave.size == HEARD_MS * RATE_HZ // 1000


def test_shards_give_their_captions_sounds_and_metadata(tmp_path):
    def sample(key, caption, audio):
        names = ("clip_id", "source_id", "clap_model", "caption_model", "license", "url")
        row = {"caption": caption, "title": "Rex", "clap_score": None, **dict.fromkeys(names, "")}
        return Sample(key, audio, "flac", "flac", RATE_HZ, 4000, 0.0, 0.5, row, {"description": "links"})

    sound = encode(tone(), RATE_HZ, "flac")
    samples = [sample("0", "a dog", sound), sample("1", "", sound), sample("2", "rain", b"no sound")]
    with (tmp_path / "00000.tar").open("wb") as file:
        list(WebDatasetFormat().write_shard(file, samples))
    shards, clips = shards_at([str(tmp_path)], "test")
    assert clips == 3
    good, silent, broken = hear_shards(shards, ["title"])
    assert isinstance(good, Clip)
    assert (good.references, good.metadata, good.sample_rate_hz) == (("a dog",), Metadata(title="Rex"), RATE_HZ)
    assert isinstance(silent, Unheard)
    assert silent.reason == "no_caption"
    assert isinstance(broken, Unheard)
    assert broken.reason == "undecodable"
    assert broken.name.endswith("00000.tar:2")
    with pytest.raises(TrainError, match="there is nothing at"):
        shards_at([str(tmp_path / "none")], "test")


def test_what_is_a_table():
    assert is_table("a/T.CSV")
    assert is_table("x.jsonl")
    assert not is_table("runs/demo/shards")


def test_a_name_that_no_file_system_takes_is_no_file():
    from pathlib import Path

    from captioner.evaluate_data import is_there

    assert not is_there(Path("x" * 300))
    assert not is_there(Path("a\0b"))
    assert is_there(Path(__file__))
