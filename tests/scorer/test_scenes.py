import numpy as np
import pytest

from scorer.scenes import SAMPLES, SceneMaker
from scorer.sounds import Sound, sampling_weights


def sound(label, size=8000, package="scratch", kind="animal"):
    time_s = np.arange(size) / 16000
    wave = (0.7 * np.sin(2 * np.pi * 440 * time_s)).astype(np.float32)
    return Sound(wave, label, package, kind, f"{label}.wav")


SOUNDS = [sound("a dog barking"), sound("a cat meowing", 300), sound("rain falling", 200_000), sound("a bell", 4000)]


def test_a_scene_comes_from_its_number_alone():
    first, second = SceneMaker(SOUNDS, seed=3, wild_share=0.3), SceneMaker(SOUNDS, seed=3, wild_share=0.3)
    ahead = [first.scene(k) for k in range(6)]
    assert np.array_equal(ahead[5].wave, second.scene(5).wave)
    assert ahead[5].labels == second.scene(5).labels
    assert not np.array_equal(ahead[4].wave, ahead[5].wave)


@pytest.mark.parametrize("number", range(12))
def test_scenes_are_whole_and_finite(number):
    scene = SceneMaker(SOUNDS, wild_share=0.4).scene(number)
    assert scene.wave.shape == (SAMPLES,)
    assert scene.wave.dtype == np.float32
    assert np.isfinite(scene.wave).all()
    assert 0.05 < np.abs(scene.wave).max() <= 1.0
    assert len(set(scene.labels)) == len(scene.labels) == len(scene.names)


def test_common_captions_are_drawn_less_often():
    weights = sampling_weights([sound("a")] * 4 + [sound("b")])
    assert np.isclose(weights.sum(), 1.0)
    assert weights[4] > 2 * weights[0]
