import numpy as np
import pytest

from scorer.scenes import SAMPLES, SceneMaker
from scorer.sounds import Sound, sampling_weights, wild_weights


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


def test_wild_scenes_take_from_unlabelled_recordings_and_have_no_label():
    wild = [sound("", 4000, "free", "wild")]
    plain, wider = SceneMaker(SOUNDS, seed=1, wild_share=1.0), SceneMaker(SOUNDS, wild=wild, seed=1, wild_share=1.0)
    scenes = [wider.scene(k) for k in range(8)]
    assert all(scene.labels == () for scene in scenes)
    assert any(not np.array_equal(scene.wave, plain.scene(k).wave) for k, scene in enumerate(scenes))


def test_a_folder_of_many_alike_is_not_drawn_by_its_size():
    many = [Sound(np.zeros(4), "", "p", "wild", f"steps/{k}.ogg") for k in range(9)]
    weights = wild_weights([*many, Sound(np.zeros(4), "", "p", "wild", "animals/lion.ogg")])
    assert np.isclose(weights.sum(), 1.0)
    assert np.isclose(weights[:9].sum(), 3 * weights[9])


def test_common_captions_are_drawn_less_often():
    weights = sampling_weights([sound("a")] * 4 + [sound("b")])
    assert np.isclose(weights.sum(), 1.0)
    assert weights[4] > 2 * weights[0]
