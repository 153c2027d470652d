"""`autorecap genau evaluate`: the table and the JSON of two folders and of shards, and what is said of bad input."""

import json

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from pipeline.cli import main
from tests.small_shards import small_shards, tone

NAMES = [f"{k:04d}" for k in range(12)]


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Shards of tones; of twelve of them a good copy, a bad one, and their captions."""
    root = tmp_path_factory.mktemp("sets")
    small_shards(root / "shards")
    rng = np.random.default_rng(0)
    lines = ["file,caption"]
    for folder in ("good", "bad"):
        (root / folder).mkdir()
    for k, name in enumerate(NAMES):
        wave = tone((220.0, 700.0, 2000.0)[k % 3], seed=100 + k)
        soundfile.write(root / "good" / f"{name}.wav", wave, 32_000)
        soundfile.write(root / "bad" / f"{name}.wav", rng.normal(0, 0.2, wave.size), 32_000)
        lines.append(f"{name}.wav,{('a dog barks', 'water runs', 'a bell rings')[k % 3]}")
    (root / "captions.csv").write_text("\n".join(lines) + "\n")
    return root


def evaluate(*words, code=0):
    found = CliRunner().invoke(main, ["genau", "evaluate", *map(str, words)])
    assert found.exit_code == code, found.output
    return found.output


@pytest.fixture(scope="module")
def results(sets):
    out = {}
    for name in ("good", "bad"):
        words = (sets / name, "--reference", sets / "shards", "--captions", sets / "captions.csv")
        out[name] = evaluate(*words, "--metrics", "fd,kad,is,kl,clap", "--json", sets / f"{name}.json")
    return out


def figures(path):
    return {one["metric"]: one for one in json.loads(path.read_text())["figures"]}


def test_a_worse_set_has_worse_figures(sets, results):
    good, bad = figures(sets / "good.json"), figures(sets / "bad.json")
    for metric in ("FD", "KAD", "KL softmax"):
        assert good[metric]["value"] < bad[metric]["value"]


def test_the_table_says_what_was_compared(results):
    said = results["good"].splitlines()
    assert "good: 12 sounds of 12, 32000 Hz, 1.00 s" in said[0]
    assert "shards: 12 sounds of 24, 32000 Hz, 1.00 s" in said[1]
    assert "12 of 24 reference sounds: 12 of the same names; autorecap 0.1.0" in said[2]
    assert any(line.startswith("CLAP of reference") for line in said)


def test_each_figure_of_the_json_says_all_it_depends_on(sets, results):
    told = json.loads((sets / "good.json").read_text())
    assert told["generated"]["heard"] == told["reference"]["heard"] == 12
    for one in told["figures"]:
        assert one["extractor"] == "embedded"
        assert len(one["weights_sha256"]) == 64
        assert one["code"].startswith("0.1.0")
        assert one["sample_rates_hz"] == {"generated": {"32000": 12}, "reference": {"32000": 12}}
        assert one["clip_seconds"]["generated"]["median"] == 1.0
    fd = next(one for one in told["figures"] if one["metric"] == "FD")
    assert (fd["generated"], fd["reference"], fd["vectors"], fd["dim"]) == (12, 12, [12, 12], 384)


def test_what_cannot_be_heard_is_counted_and_makes_the_exit_code_1(sets, tmp_path):
    for name in NAMES[:3]:
        (tmp_path / f"{name}.wav").write_bytes((sets / "good" / f"{name}.wav").read_bytes())
    (tmp_path / "0003.wav").write_bytes(b"RIFF?")
    said = evaluate(tmp_path, "--reference", sets / "good", "--metrics", "fd", "--json", tmp_path / "out.json", code=1)
    assert "generated 0003: undecodable" in said
    assert "3 sounds of 4, 1 more unheard" in said
    assert json.loads((tmp_path / "out.json").read_text())["unheard"][0]["sound"] == "0003"


def test_bad_input_is_told_before_anything_is_heard(sets, tmp_path):
    good = sets / "good"
    assert "holds no sound" in evaluate(good, "--reference", tmp_path, code=2)
    assert "is no folder of sounds" in evaluate(good, "--reference", tmp_path / "no", code=2)
    assert "--metrics fad: give some of fd,fd-inf,kad,is,kl,clap" in evaluate(
        good, "--reference", good, "--metrics", "fad", code=2
    )
    assert "vggish needs weights" in evaluate(good, "--reference", good, "--extractor", "vggish", code=2)
    assert "there is no folder" in evaluate(good, "--reference", good, "--json", tmp_path / "no" / "x.json", code=2)
    soundfile.write(tmp_path / "other.wav", tone(300.0), 32_000)
    said = evaluate(tmp_path, "--reference", good, "--metrics", "kl", code=2)
    assert "1 of 1 generated sounds have no reference of their name (other)" in said
    said = evaluate(tmp_path, "--reference", good, "--captions", sets / "captions.csv", code=2)
    assert "has no caption for any of the 1 sounds" in said


def test_a_default_metric_that_cannot_be_had_is_left_out_with_its_reason(sets, tmp_path):
    for k in range(3):
        soundfile.write(tmp_path / f"x{k}.wav", tone(300.0 + k), 32_000)
    said = evaluate(tmp_path, "--reference", sets / "good")
    assert "no kl by embedded: KL compares sounds of one name" in said
    assert "no is by embedded: an Inception Score of 10 parts needs 10 sounds; there are 3" in said
    assert "no clap by embedded: a CLAP score needs the caption" in said
    assert "3 of 12 reference sounds: 3 drawn with seed 0" in said
    assert "\nFD " in said
