"""autorecap score: any file against any text, as the scorer says; what cannot be heard is told and passed over."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from audio.resample import resample
from pipeline.cli import main
from pipeline.media_files import FilesError, find_files
from pipeline.score_files import BLOCK_MS, hear_files, read_captions
from scorer.load import WEIGHTS, load_scorer


def noise(seconds, rate=16_000, seed=0, channels=1):
    rng = np.random.default_rng(seed)
    wave = (rng.standard_normal((round(seconds * rate), channels)) * 0.1).astype(np.float32)
    return wave[:, 0] if channels == 1 else wave


def score(*words):
    return CliRunner().invoke(main, ["score", *map(str, words)])


@pytest.fixture(scope="module")
def scorer():
    return load_scorer()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sounds")
    soundfile.write(folder / "a.wav", noise(3), 16_000, subtype="FLOAT")
    (folder / "deep").mkdir()
    soundfile.write(folder / "deep" / "b.flac", noise(12, 44_100, 1, channels=2), 44_100)
    (folder / "notes.txt").write_text("no sound")
    (folder / ".hidden.wav").write_bytes(b"no sound")
    return folder


def test_files_folders_and_patterns_each_once(folder):
    both = [str(folder / "a.wav"), str(folder / "deep" / "b.flac")]
    assert find_files([str(folder)]) == both
    assert find_files([f"{folder}/*.wav", str(folder)]) == both
    assert find_files([f"{folder}/**/*.flac"]) == both[1:]
    with pytest.raises(FilesError, match=r"nothing\.wav: there is no such file"):
        find_files([str(folder / "a.wav"), str(folder / "nothing.wav")])
    (folder / "empty").mkdir(exist_ok=True)
    with pytest.raises(FilesError, match="no media file in this folder"):
        find_files([str(folder / "empty")])


def test_a_short_file_is_heard_as_the_scorer_hears_its_wave(folder, scorer):
    mono, stereo = hear_files(scorer, find_files([str(folder)]))
    np.testing.assert_allclose(mono.vector, scorer.embed_audio([noise(3)])[0], atol=1e-6)
    assert mono.duration_s == pytest.approx(3)
    wave = resample(noise(12, 44_100, 1, channels=2).mean(axis=1), 44_100, scorer.sample_rate_hz)
    assert stereo.vector @ scorer.embed_audio([wave])[0] > 0.999
    assert stereo.duration_s == pytest.approx(12, abs=0.01)


def test_a_long_file_is_heard_to_its_end_window_by_window(tmp_path, scorer):
    wave = np.concatenate([noise(BLOCK_MS / 1000 + 8), 0.3 * np.sin(np.arange(7 * 16_000) * 0.3).astype(np.float32)])
    soundfile.write(tmp_path / "long.wav", wave, 16_000, subtype="FLOAT")
    (heard,) = hear_files(scorer, [str(tmp_path / "long.wav")])
    assert heard.duration_s == pytest.approx(wave.size / 16_000)
    starts = [*range(0, wave.size - 160_000, 160_000), wave.size - 160_000]
    mean = scorer.embed_audio([wave[start : start + 160_000] for start in starts]).mean(axis=0)
    np.testing.assert_allclose(heard.vector, mean / np.linalg.norm(mean), atol=1e-5)


def test_a_matrix_says_model_and_hash_and_is_the_dot_product(folder, scorer):
    texts = ["a dog barks", "rain on a roof"]
    table = score(folder, "--text", texts[0], "--text", texts[1])
    assert table.exit_code == 0
    assert scorer.weights_sha256 in table.stdout
    lines = score(folder, "--text", texts[0], "--text", texts[1], "--format", "jsonl").stdout.splitlines()
    said = {(row["file"], row["text"]): row["score"] for row in map(json.loads, lines)}
    vectors = scorer.embed_text(texts)
    for heard in hear_files(scorer, find_files([str(folder)])):
        for text, vector in zip(texts, vectors, strict=True):
            assert said.pop((heard.file, text)) == pytest.approx(float(vector @ heard.vector), abs=1e-5)
    assert not said


def test_what_cannot_be_heard_is_told_and_the_others_are_scored(folder, tmp_path):
    (tmp_path / "bad\x1b[2J.mp4").write_bytes(b"no media at all" * 100)
    (tmp_path / "empty.wav").write_bytes(b"")
    done = score(tmp_path, folder, "--text", "wind", "--format", "csv")
    assert done.exit_code == 1
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["reason"] for row in rows] == ["undecodable", "empty_file", "", ""]
    assert all(-1 <= float(row["score"]) <= 1 for row in rows[2:])
    assert "empty_file" in done.stderr
    assert "\x1b" not in done.stderr


def test_captions_score_once_each(folder, tmp_path, scorer):
    (folder / "captions.csv").write_text("file,caption\na.wav,a dog barks\na.wav,rain\ndeep/b.flac,rain\n")
    lines = score("--captions", folder / "captions.csv", "--format", "jsonl").stdout.splitlines()
    said = [json.loads(line) for line in lines]
    assert [row["text"] for row in said] == ["a dog barks", "rain", "rain"]
    vector = scorer.embed_audio([noise(3)])[0]
    assert said[1]["score"] == pytest.approx(float(scorer.embed_text(["rain"])[0] @ vector), abs=1e-5)
    (tmp_path / "lines.jsonl").write_text('{"file": "%s", "caption": "rain"}\n\n[1]\n' % (folder / "a.wav"))
    with pytest.raises(FilesError, match=r"lines\.jsonl, line 3: a line needs"):
        list(read_captions(str(tmp_path / "lines.jsonl")))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "give FILES and at least one --text"),
        (["a.wav"], "give FILES and at least one --text"),
        (["nothing-here.wav", "--text", "rain"], "nothing-here.wav: there is no such file"),
        (["--captions", "none.csv", "--text", "rain"], "brings its own files"),
        (["--captions", "none.csv"], "none.csv cannot be read"),
        (["{}", "--text", " "], "--text is empty"),
        (["{}", "--text", "rain", "--model", "{}"], "cannot be loaded"),
    ],
)
def test_refusals_are_one_sentence(folder, words, told):
    done = score(*[str(folder) if word == "{}" else word for word in words])
    assert done.exit_code == 2
    assert told in done.stderr
    assert "Traceback" not in done.output


def test_weights_with_another_hash_are_refused(folder, tmp_path):
    for name in ("card.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((WEIGHTS / name).read_bytes())
    weights = bytearray((WEIGHTS / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (tmp_path / "model.safetensors").write_bytes(weights)
    done = score(folder, "--text", "rain", "--model", tmp_path)
    assert done.exit_code == 2
    assert "cannot be loaded" in done.stderr
