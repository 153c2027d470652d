import json

import numpy as np
import torch

from captioner.data import ARRAYS, CaptionerScenes, open_heard
from captioner.model import AUDIO_TOKENS, Listener, loudness
from scorer.embedded import EmbeddedScorer
from scorer.features import LogMel
from scorer.load import WEIGHTS
from scorer.sounds import Sound


def recordings(kind, count=3, seconds=0.4):
    time_s = np.arange(int(seconds * 16000)) / 16000
    waves = [(0.5 * np.sin(2 * np.pi * 300 * (k + 1) * time_s)).astype(np.float32) for k in range(count)]
    return [
        Sound(wave, f"tone {k} ringing" if kind else "", "made", kind or "wild", f"T{k}.wav")
        for k, wave in enumerate(waves)
    ]


def test_scenes_come_from_the_seed_alone_and_are_of_every_sort():
    one, other = (CaptionerScenes(recordings("sfx"), recordings(""), seed=7) for _ in range(2))
    scenes = [one.scene(k) for k in range(40)]
    assert np.array_equal(scenes[33].wave, other.scene(33).wave)
    assert {len(s.labels) for s in scenes} >= {0, 1, 2}
    assert all(s.wave.shape == (160_000,) and s.wave.dtype == np.float32 for s in scenes)


def test_without_wild_recordings_every_scene_is_labelled():
    maker = CaptionerScenes(recordings("sfx"), [], seed=7)
    assert all(maker.scene(k).labels for k in range(30))


def test_the_listener_reads_the_classes_as_the_tower_does():
    scorer = EmbeddedScorer(WEIGHTS)
    wave = np.random.default_rng(0).normal(0, 0.1, 160_000).astype(np.float32)
    tokens, _ = scorer.hear_windows([wave])
    with torch.inference_mode():
        heard = Listener.of(scorer)(torch.from_numpy(tokens))
        tower = scorer._net.audio(LogMel()(torch.from_numpy(wave)[None]))
    assert heard.tokens.shape == (1, AUDIO_TOKENS, 512)
    wanted = (loudness(tower.class_logits.sigmoid()) + 1e-3).log()
    assert torch.allclose(heard.summary[:, 1024:], wanted, atol=1e-4)


def test_a_heard_set_is_read_back(tmp_path):
    for name, shape in ARRAYS.items():
        np.save(tmp_path / f"{name}.npy", np.zeros((2, *shape), np.float16))
    rows = [
        {"labels": ["a"], "relation": "alone", "names": ["a.wav"]},
        {"labels": [], "relation": "alone", "names": []},
    ]
    (tmp_path / "scenes.jsonl").write_text("\n".join(map(json.dumps, rows)))
    heard = open_heard(tmp_path)
    assert len(heard) == 2
    assert heard.labels == [("a",), ()]
