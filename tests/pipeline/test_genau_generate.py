"""autorecap genau generate and demo, as somebody types and sees them: real parts, a small untrained model."""

from __future__ import annotations

import json

import pytest
import soundfile
from click.testing import CliRunner

from generation.page import Studio, make
from pipeline.cli import main
from tests.demo_pages import browser_at, demo_server, in_a_browser
from tests.genau_small import generator, model_folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(model_folder(tmp_path_factory.mktemp("models")))


def typed(*words):
    return CliRunner().invoke(main, ["genau", "generate", *map(str, words)])


def test_prompts_become_sounds_with_records_and_are_not_made_twice(model, tmp_path):
    (tmp_path / "prompts.jsonl").write_text('{"id": "clip7", "prompt": "a/b \\u96e8"}\n\n"rain on a roof"\n')
    words = ("--model", model, "--prompts", tmp_path / "prompts.jsonl", "--prompt", "wind", "--out", tmp_path / "out")
    options = ("--steps", 3, "--candidates", 2, "--guidance", 2, "--seed", 5, "--duration", 1, "--spectrogram")
    done = typed(*words, *options)
    assert done.exit_code == 0, done.output
    assert "3 made in" in done.stderr
    assert len(done.stdout.splitlines()) == 3
    names = {path.stem for path in (tmp_path / "out").iterdir()}
    assert len(names) == 3
    assert "clip7" in names
    assert len(list((tmp_path / "out").iterdir())) == 9
    record = json.loads((tmp_path / "out" / "clip7.json").read_text(encoding="utf-8"))
    assert (record["prompt"], record["id"], len(record["clap_scores"])) == ("a/b 雨", "clip7", 2)
    made_of = record["made_of"]
    assert (made_of["settings"]["seed"], made_of["settings"]["guidance"], made_of["settings"]["steps"]) == (5, 2.0, 3)
    assert len(made_of["model"]["weights_sha256"]) == 64
    sound = soundfile.info(tmp_path / "out" / "clip7.wav")
    assert (sound.samplerate, sound.frames, sound.channels) == (16_000, 16_000, 1)
    again = typed(*words, *options)
    assert (again.exit_code, again.stdout) == (0, "")
    assert "0 made, 3 were there" in again.stderr
    other = typed(*words, *options, "--solver", "dpm")
    assert "3 made in" in other.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "say what shall be heard: --prompt TEXT, or --prompts FILE"),
        (("--prompt", "x", "--duration", "11"), "small makes clips of up to 1.28 s, not of 11 s"),
        (("--prompt", "x", "--prompts", "none.txt"), "the prompts none.txt cannot be read: No such file"),
        (("--prompt", "x", "--device", "cuda"), "PyTorch sees no GPU here"),
        (("--prompt", "x", "--candidates", "2", "--scorer", "none"), "several candidates need a scorer"),
        (("--prompt", "x", "--dataset", "cats"), "data set 'cats' has no id; the model knows rain, dogs"),
        (("--prompt", "x", "--weights", "ema"), "is a model folder: its card says what it is"),
        (("--prompt", "x", "--vae", "nowhere"), "there is no file"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_line(model, tmp_path, monkeypatch, words, told):
    monkeypatch.chdir(tmp_path)
    if "cuda" in words:
        torch = pytest.importorskip("torch")
        if torch.cuda.is_available():
            pytest.skip("a GPU is here")
    done = typed("--model", model, "--out", tmp_path / "out", *words)
    assert done.exit_code == 2
    assert told in done.stderr
    assert "Traceback" not in done.output
    assert not list(tmp_path.rglob("*.wav"))


def test_a_model_that_is_none_is_told(tmp_path):
    done = typed("--model", tmp_path / "none.ckpt", "--prompt", "x", "--out", tmp_path / "out")
    assert (done.exit_code, done.stderr) == (2, f"autorecap: there is no file {tmp_path / 'none.ckpt'}\n")


def test_the_page_tells_what_it_cannot_make():
    studio = Studio(generator())
    assert make(studio, ("  ", 0, 4, 5, 1)).note == "say what shall be heard"
    assert "up to 5000 characters" in make(studio, ("x" * 5001, 0, 4, 5, 1)).note
    assert "takes 1 to 1000 steps" in make(studio, ("rain", 0, 4, 5000, 1)).note
    assert make(studio, ("rain\ud800", None, 4, 3, 1)).wave.shape == (20480,)
    heard = make(studio, ("rain", 3, 99, 3, 9))
    assert heard.wave.shape == (20480,)
    assert heard.note == "1.28 s, draw 1 of 1, seed 3"


@pytest.fixture(scope="module")
def server(model, tmp_path_factory):
    pytest.importorskip("gradio", reason="gradio is not installed: the extra `demo`")
    with demo_server(
        tmp_path_factory.mktemp("temporary"), "genau", "demo", "--steps", "3", "--model", model
    ) as address:
        yield address


@pytest.mark.slow
@in_a_browser
def test_words_become_a_sound_with_its_picture_and_scores(server):
    with browser_at(server) as seen:
        page = seen.page
        page.locator("#prompt textarea, #prompt input").fill("Rain <b>on</b> a roof")
        page.locator("#seed input").fill("7")
        page.locator("#candidates input[type=number]").fill("2")
        page.locator("#candidates input[type=number]").press("Tab")
        page.locator("#run").click()
        note = page.locator("#note textarea, #note input")
        page.wait_for_function("e => e.value.length > 0", arg=note.element_handle())
        told, scores = note.input_value(), page.locator("#scores textarea, #scores input").input_value()
        page.locator("#picture img").first.wait_for(state="attached")
        wide = page.evaluate(
            "async () => { const i = document.querySelector('#picture img'); await i.decode(); return i.naturalWidth }"
        )
        address = page.locator("#sound a[download]").first.get_attribute("href")
        body = page.request.get(address).body()
        model_name = page.locator("#model textarea, #model input").input_value()
    assert told.startswith("1.28 s, draw ")
    assert told.endswith(" of 2, seed 7")
    marked = [score for score in scores.split(", ") if score.endswith("*")]
    assert len(scores.split(", ")) == 2
    assert len(marked) == 1
    assert float(marked[0].rstrip("*")) == max(float(score.rstrip("*")) for score in scores.split(", "))
    assert wide == 800
    assert body.startswith(b"RIFF")
    assert model_name.startswith("small@")
    assert seen.faults == []
    assert seen.hosts() == {"127.0.0.1"}
