"""The same random weights through LAION's own package and through this project's reading of its files."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from scorer.load import ClapOptions, load_scorer
from tests.small_clap import small_tokenizer

ROOT = Path(__file__).parents[3]
PYTHON = ROOT / ".venv-laion" / "bin" / "python"
TEXTS = ["a dog barks", "water runs while a bell rings far away"]


def sounds():
    draw = np.random.default_rng(0)
    return [
        (draw.normal(0, 0.1, size) * np.sin(np.arange(size) / 3000)).astype(np.float32)
        for size in (480_000, 100_000, 30, 700_000)
    ]


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    if not PYTHON.exists():
        pytest.skip("LAION's package has no environment here: make laion-env")
    folder = tmp_path_factory.mktemp("laion")
    small_tokenizer(folder / "tokenizer")
    (folder / "texts.json").write_text(json.dumps(TEXTS))
    for number, wave in enumerate(sounds()):
        np.save(folder / f"wave-{number}.npy", wave)
    script = Path(__file__).with_name("reference.py")
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2"}
    done = subprocess.run([PYTHON, script, folder], env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny", "tiny-fusion", "base"])
def test_the_embeddings_are_laions_to_1e_4(work, name):
    theirs = np.load(work / f"{name}.npz")
    ours = load_scorer(str(work / f"{name}.pt"), options=ClapOptions(tokenizer=str(work / "tokenizer")))
    audio, text = ours.embed_audio(sounds()), ours.embed_text(TEXTS)
    assert np.abs(audio - theirs["audio"]).max() < 1e-4
    assert np.abs(text - theirs["text"]).max() < 1e-4
    # and the sounds are told apart: equal numbers would say nothing if all were the same
    assert np.abs(audio[0] - audio[2]).max() > 1e-3
