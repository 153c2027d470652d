"""autorecap autocap evaluate on real little sounds: table, CSV, JSON, exit codes, and a broken file among the good."""

import csv
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from captioner.evaluate import EvaluateError
from pipeline.caption_eval import beam_numbers, captioner_options, metadata_keys, open_data
from pipeline.cli import main
from pipeline.export import export
from pipeline.select import select
from tests.small_autocap import save_small_autocap

SOUNDS = Path(__file__).parents[1] / "data" / "sounds"


def evaluate(*words):
    return CliRunner().invoke(main, ["autocap", "evaluate", *map(str, words)])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two real sounds, a broken one, and one that is not there."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("glass_rub.flac", "speech_woman.flac"):
        shutil.copy(SOUNDS / name, folder)
    (folder / "broken.wav").write_bytes(b"RIFF and nothing more")
    lines = [
        ("glass_rub.flac", "glass is rubbed"), ("speech_woman.flac", "a woman speaks"), ("broken.wav", "a \x1b[31mdog"),
        ("gone\x1b[2J.wav", "wind"), ("speech_woman.flac", "A woman's voice."),
    ]  # fmt: skip
    with (folder / "captions.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "caption"), *lines])
    with (folder / "good.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "caption"), *lines[:2]])
    return folder


def test_a_table_with_a_broken_file_is_measured_without_it(data, tmp_path):
    out, results = tmp_path / "captions.csv", tmp_path / "results.json"
    ended = evaluate(data / "captions.csv", "--beams", "1,3", "--no-java", "--csv", out, "--json", results)
    assert ended.exit_code == 1, ended.output
    assert "broken.wav: undecodable" in ended.stderr
    assert "there is no such file" in ended.stderr
    assert "\x1b" not in ended.output
    assert "2 clips with 3 references" in ended.stdout
    assert "2 more could not be heard" in ended.stdout
    assert "1 beam" in ended.stdout
    assert "3 beams" in ended.stdout
    assert "no METEOR, SPICE, SPIDEr: Java was not to be used" in ended.stdout

    rows = list(csv.DictReader(out.open()))
    assert [(row["file"], row["beam"]) for row in rows] == [
        ("glass_rub.flac", "1"), ("glass_rub.flac", "3"), ("speech_woman.flac", "1"), ("speech_woman.flac", "3"),
    ]  # fmt: skip
    assert json.loads(rows[2]["references"]) == ["a woman speaks", "A woman's voice."]
    assert all(row["caption"] and float(row["logprob"]) < 0 and -1 <= float(row["clap_score"]) <= 1 for row in rows)

    found = json.loads(results.read_text())
    assert (found["clips"], found["references"], found["tokenizer"]) == (2, 3, "own")
    assert set(found["beams"]) == {"1", "3"}
    assert set(found["beams"]["1"]) == {
        *(f"BLEU-{n}" for n in (1, 2, 3, 4)), "ROUGE-L", "CIDEr-D", "CLAP", "vocabulary",
    }  # fmt: skip
    low, value, high = (found["beams"]["1"]["ROUGE-L"][key] for key in ("low", "value", "high"))
    assert 0 <= low <= value <= high <= 1
    assert sorted(one["file"] for one in found["unheard"]) == ["broken.wav", "gone\x1b[2J.wav"]


def test_all_heard_is_exit_code_0_and_one_clip_says_what_its_cider_is(data, tmp_path):
    only = tmp_path / "one.jsonl"
    only.write_text(json.dumps({"file": str(SOUNDS / "glass_rub.flac"), "caption": "glass is rubbed"}) + "\n")
    ended = evaluate(only, "--beams", "1", "--no-java", "--scorer", "none")
    assert ended.exit_code == 0, ended.output
    assert "one clip: its CIDEr-D is 0" in ended.stdout
    assert "CLAP" not in ended.stdout


def test_a_published_autocap_with_its_own_clap(data, tmp_path):
    small = save_small_autocap(tmp_path / "small")
    named = [f"clap={small.clap}", f"bart={small.bart}", f"clap_options={{tokenizer: {small.clap_tokenizer}}}"]
    settings = [word for setting in named for word in ("--autocap", setting)]
    results = tmp_path / "results.json"
    ended = evaluate(
        data / "good.csv", "--model", small.checkpoint, *settings, "--beams", "1,2", "--no-java", "--json", results
    )
    assert ended.exit_code == 0, ended.output
    found = json.loads(results.read_text())
    assert found["model"].startswith("autocap-full@")
    assert found["scorer"] is not None
    assert "CLAP" in found["beams"]["2"]


def test_an_export_is_measured_by_the_captions_it_holds(small_corpus, tmp_path):
    made = small_corpus(clip_ms=200)
    store = made.make(tmp_path / "run")
    select(store.root, "all")
    export(store.root, "all", str(tmp_path / "shards"), workers=0)
    ended = evaluate(tmp_path / "shards", "--split", "train", "--beams", "1", "--no-java")
    assert ended.exit_code in (0, 1), ended.output
    assert "CIDEr-D" in ended.stdout
    ended = evaluate(tmp_path / "shards")
    assert ended.exit_code == 2
    assert "no clips of the split 'test'" in ended.stderr


def test_nothing_to_hear_is_an_error(tmp_path):
    (tmp_path / "t.csv").write_text("file,caption\ngone.wav,wind\n")
    ended = evaluate(tmp_path / "t.csv", "--csv", tmp_path / "out.csv")
    assert ended.exit_code == 2
    assert "none of the 1 clips could be heard" in ended.stderr
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--beams", "1,x"], "--beams 1,x: give different numbers"),
        (["--beams", "2,2"], "give different numbers"),
        (["--beams", "0"], "give different numbers"),
        (["--metadata", "titles"], "--metadata titles: give some of title"),
        (["--autocap", "clapp=x"], "--autocap clapp=x: write KEY=VALUE"),
        (["--autocap", "tag_spacing=wide"], "--autocap tag_spacing"),
        (["--model", "/no/such/model"], "/no/such/model"),
        (["--scorer", "/no/such/scorer"], "/no/such/scorer"),
        (["--json", "/no/such/folder/x.json"], "there is no folder /no/such/folder"),
        (["more.csv"], "give one table"),
    ],
)
def test_what_is_asked_wrongly_is_told_at_once(data, words, message):
    ended = evaluate(data / "good.csv", *words)
    assert ended.exit_code == 2, ended.output
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


def test_words_become_numbers_keys_and_options():
    assert beam_numbers("1,2,3") == [1, 2, 3]
    assert metadata_keys("none") == []
    assert metadata_keys("title,description") == ["title", "description"]
    assert captioner_options(["long_clips=join", "batch=4"]).batch == 4
    with pytest.raises(EvaluateError, match="--audio is for a table"):
        open_data(["shards"], "folder", "test", [])
