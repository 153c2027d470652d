import json

import numpy as np
import soundfile

from captioner.data import render
from scorer.embedded import EmbeddedScorer
from scorer.load import WEIGHTS
from scorer.scenes import SceneMaker
from scorer.sounds import read_sounds


def sounds_folder(folder):
    rows = []
    for k, label in enumerate(("a dog barking", "running water", "a bell ringing")):
        wave = 0.5 * np.sin(2 * np.pi * 300 * (k + 1) * np.arange(8000) / 16000)
        soundfile.write(folder / f"{k}.wav", wave, 16000)
        row = {"file": f"{k}.wav", "package": "made", "licence": "CC0", "label_text": label}
        rows.append(json.dumps(row | {"kind": "sfx", "raw_name": f"Sound{k}.wav"}))
    (folder / "sounds.jsonl").write_text("\n".join(rows))
    return folder


def test_rendered_scenes_are_what_the_tower_hears_and_are_kept(tmp_path):
    sounds = sounds_folder(tmp_path)
    made = render(sounds, tmp_path / "heard", count=3, seed=5)
    scene = SceneMaker(read_sounds(sounds), seed=5).scene(2)
    tokens, clap = EmbeddedScorer(WEIGHTS).hear([scene.wave])
    assert len(made) == 3
    assert made.labels[2] == scene.labels
    assert np.allclose(made.tokens[2], tokens[0], atol=0.02)
    assert np.allclose(made.clap[2], clap[0], atol=1e-3)
    before = (tmp_path / "heard" / "tokens.npy").stat().st_mtime_ns
    assert render(sounds, tmp_path / "heard", count=3, seed=5).names == made.names
    assert (tmp_path / "heard" / "tokens.npy").stat().st_mtime_ns == before
