"""Prompts out of files: with ids and without; what cannot be read is told with its line."""

import json

import pytest

from generation.errors import GenerationError
from generation.prompts import Asked, read_prompts


def written(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


LONG = "rain " * 1000

FILES = {
    "plain.txt": "Rain on a roof\n\n  a dog | barks \r\n\t\n" + LONG + "\n雨の音 🌧 and a/b\u2028c\n",
    "named.txt": "clip7|rain, on | a roof\n\nclip8|a dog\n",
    "table.csv": '\ufeffid,caption,other\nclip7,"rain, on\na roof",x\n\n7,a dog,\n',
    "noid.csv": 'caption\n"rain"\ndog\n',
    "tabs.tsv": "file_name\ttext\na.wav\train, on\n",
    "objects.jsonl": '{"id": 3, "prompt": "rain\\ud800"}\n\n"a dog"\n{"caption": "' + LONG.strip() + '", "id": null}\n',
}
WANTED = {
    "plain.txt": [("", "Rain on a roof"), ("", "a dog | barks"), ("", LONG.strip()), ("", "雨の音 🌧 and a/b\u2028c")],
    "named.txt": [("clip7", "rain, on | a roof"), ("clip8", "a dog")],
    "table.csv": [("clip7", "rain, on\na roof"), ("7", "a dog")],
    "noid.csv": [("", "rain"), ("", "dog")],
    "tabs.tsv": [("a.wav", "rain, on")],
    "objects.jsonl": [("3", "rain?"), ("", "a dog"), ("", LONG.strip())],
}


@pytest.mark.parametrize("name", FILES)
def test_each_kind_of_file(tmp_path, name):
    assert read_prompts(written(tmp_path, name, FILES[name])) == [Asked(*pair) for pair in WANTED[name]]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.txt", "\n \n", "holds no prompts"),
        ("a.pdf", "x", "prompts come as"),
        ("a.txt", "clip7|rain\nclip8|\n", "an id without a prompt"),
        ("a.csv", "id,words\n1,rain\n", "line 2: no prompt, caption, text; it has id, words"),
        ("a.csv", "id,prompt\n1,rain,dog\n", "line 2: more fields"),
        ("a.csv", 'id,prompt\n1,"rain\n', "unexpected end of data"),
        ("a.csv", "id,prompt\n1\n", "line 2: the prompt is no text"),
        ("a.jsonl", '"rain"\n{"id": 1,\n', "line 2: not JSON"),
        ("a.jsonl", "[1]\n", "line 1: neither an object nor a string"),
        ("a.jsonl", json.dumps({"id": [1], "prompt": "rain"}), "line 1: the id is neither text"),
        ("a.jsonl", json.dumps({"id": 1, "prompt": 5}), "line 1: the prompt is no text"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path, name, text, told):
    with pytest.raises(GenerationError, match=told):
        read_prompts(written(tmp_path, name, text))


def test_another_encoding_and_a_missing_file_are_told(tmp_path):
    (tmp_path / "a.txt").write_bytes("Tür".encode("latin-1"))
    with pytest.raises(GenerationError, match=r"is not UTF-8 \(byte 1\)"):
        read_prompts(tmp_path / "a.txt")
    with pytest.raises(GenerationError, match="cannot be read: No such file"):
        read_prompts(tmp_path / "b.txt")
