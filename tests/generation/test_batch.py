"""A list of prompts to a folder: names, the best candidate, resumed without making anything twice."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from generation.batch import Job, make_sounds
from generation.errors import GenerationError
from generation.generator import Settings
from generation.naming import stem_of
from generation.prompts import Asked
from generation.rerank import best, clap_scores
from scorer import load_scorer

RATE = 16_000


class Tones:
    """A generator that knows no model: each draw of a prompt is a tone or noise of its own."""

    model_id, weights_sha256, about = "tones", "a" * 64, {"precision": "float32"}
    sample_rate_hz, longest_s, clips_at_once = RATE, 1.0, 4

    def __init__(self):
        self.asked = []

    def generate(self, prompts, settings, on_progress=None):
        self.asked.append([(prompt.text, prompt.draw) for prompt in prompts])
        if any(prompt.text == "stop" for prompt in prompts):
            raise GenerationError("stopped here")
        at = np.arange(RATE) / RATE
        waves = []
        for prompt in prompts:
            draw = np.random.default_rng(prompt.draw * 100 + len(prompt.text) + settings.seed)
            hum = np.sin(2 * np.pi * 100 * (2 + 3 * prompt.draw) * at)
            waves.append(0.5 * (draw.standard_normal(RATE) if prompt.draw % 2 else hum))
        if on_progress:
            on_progress(1.0)
        return np.clip(np.stack(waves), -1, 1).astype(np.float32)


@pytest.fixture(scope="module")
def scorer():
    return load_scorer()


def asked(*texts):
    return [Asked("", text) for text in texts]


def run(generator, scorer, job):
    made, progress = [], []
    make_sounds(generator, scorer, job, made.append, progress.append)
    assert progress == sorted(progress)
    assert progress[-1] == len(job.asked)
    return made


def test_hard_prompts_become_files_that_say_what_they_are(tmp_path):
    texts = ["rain/../..", "x" * 5000, "雨の音", "rain", "rain", "a\u202eb\0c"]
    made = run(Tones(), None, Job(asked(*texts), tmp_path / "out", Settings(), picture=True))
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert len(files) == 3 * len(texts)
    for one in made:
        record = json.loads((tmp_path / "out" / f"{one.name}.json").read_text(encoding="utf-8"))
        sound, rate = soundfile.read(tmp_path / "out" / f"{one.name}.wav")
        assert (record["prompt"], record["made_of"]["settings"]["steps"], rate) == (one.asked.text, 100, RATE)
        assert (record["samples"], record["clap_scores"]) == (len(sound), [])
        assert record["made_of"]["model"]["weights_sha256"] == "a" * 64
    twice = [
        json.loads((tmp_path / "out" / f"{one.name}.json").read_text()) for one in made if one.asked.text == "rain"
    ]
    assert [record["draw"] for record in twice] == [0, 1]
    assert twice[0]["wav_sha256"] != twice[1]["wav_sha256"]


def test_of_the_candidates_the_one_that_clap_likes_best_is_kept(tmp_path, scorer):
    generator = Tones()
    (one,) = run(generator, scorer, Job(asked("white noise"), tmp_path, Settings(), candidates=3))
    assert generator.asked == [[("white noise", draw) for draw in range(3)]]
    assert one.chosen == int(np.argmax(one.scores))
    record = json.loads((tmp_path / f"{one.name}.json").read_text())
    np.testing.assert_allclose(record["clap_scores"], one.scores, atol=1e-6)
    assert record["draw"] == one.chosen
    sound, _ = soundfile.read(tmp_path / f"{one.name}.wav", dtype="float32")
    again = clap_scores(scorer, "white noise", sound[None], RATE)[0]
    assert again == pytest.approx(max(one.scores), abs=0.02)
    with pytest.raises(GenerationError, match="need a scorer"):
        make_sounds(generator, None, Job(asked("x"), tmp_path, Settings(), candidates=2))


def test_no_number_is_never_best():
    assert best([float("nan"), -0.5, 0.1, 0.1]) == 2
    assert best([float("nan")]) == 0


def test_what_is_there_is_not_made_again(tmp_path):
    job = Job(asked("rain", "stop", "wind", "rain"), tmp_path, Settings())
    generator = Tones()
    generator.clips_at_once = 1
    with pytest.raises(GenerationError, match="stopped here"):
        make_sounds(generator, None, job)
    assert len(list(tmp_path.glob("*.wav"))) == 1
    second = Tones()
    rest = replace(job, asked=asked("rain", "go", "wind", "rain"))
    made = run(second, None, rest)
    assert [one.was_there for one in made] == [True, False, False, False]
    assert second.asked == [[("go", 0), ("wind", 0), ("rain", 1)]]
    third = Tones()
    assert all(one.was_there for one in run(third, None, rest))
    assert third.asked == []
    changed = run(third, None, replace(rest, settings=Settings(seed=1)))
    assert not any(one.was_there for one in changed)
    assert len(list(tmp_path.glob("*.wav"))) == 4
    (tmp_path / f"{stem_of(Asked('', 'wind'))}.wav").unlink()
    assert [one.was_there for one in run(Tones(), None, replace(rest, settings=Settings(seed=1)))].count(False) == 1


def test_seeds_by_name_draw_the_same_for_each_name(tmp_path):
    generator = Tones()
    job = Job([Asked("a", "rain"), Asked("b", "rain")], tmp_path, Settings(seeds="name"), candidates=1)
    run(generator, None, job)
    assert generator.asked == [[("rain", 0), ("rain", 0)]]
    assert sorted(path.name for path in Path(tmp_path).glob("*.wav")) == ["a.wav", "b.wav"]
