import io
import json

import numpy as np
import pytest
import torch

from generation.data_recipe import Filters
from generation.latent_numbers import half_file, latent_file
from generation.latents import AUDIO, LATENT, TEXT, Latents
from training.samples import Unusable

CHANNELS, STEPS, WIDTH = 2, 5, 3
KIND = Latents(CHANNELS, STEPS, WIDTH)


def sample(texts=("one", "two"), numbers="bytes", **change):
    latent = latent_file(np.arange(2.0 * CHANNELS * STEPS).reshape(2, CHANNELS, STEPS), numbers)
    vectors = np.arange(len(texts) * WIDTH).reshape(-1, WIDTH)
    told = {"text": list(texts), "dataset": "theirs", "clap_score": 0.3, "duration_s": 3.2}
    made = {LATENT: latent, TEXT: half_file(vectors), "json": json.dumps(told).encode()}
    return {"__key__": "k", "__url__": "u"} | made | change


def npy(array, **more):
    file = io.BytesIO()
    np.save(file, array, **more)
    return file.getvalue()


def test_a_caption_comes_with_its_own_vector():
    for seed in range(8):
        clip = KIND.clip(sample(), None, np.random.default_rng(seed))
        assert clip.text.tolist() == ([0, 1, 2] if clip.caption == "one" else [3, 4, 5])
    # A caption that the filters leave out takes its vector with it.
    short = Latents(CHANNELS, STEPS, WIDTH, Filters(max_caption_chars=3))
    assert short.clip(sample(("too long", "two")), None, None).text.tolist() == [3, 4, 5]


def test_a_batch_is_of_means_deviations_and_vectors():
    for second in ("bytes", "float16"):
        clips = [KIND.clip(sample(), "ours", None), KIND.clip(sample(numbers=second), None, None)]
        batch = KIND.batch(clips, None)
        mean, std = batch.gaussians(torch.device("cpu"))
        assert mean.shape == std.shape == (2, CHANNELS, STEPS)
        assert mean[:, 0, 0].tolist() == [0, 0]
        assert std[:, 0, 0].tolist() == pytest.approx([CHANNELS * STEPS] * 2, rel=1e-5)
        assert batch.datasets == ["ours", "theirs"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({LATENT: b""}, "damaged_array"),
        ({LATENT: b"\x93NUMPY\x01\x00"}, "damaged_array"),
        ({LATENT: npy(np.zeros((2, CHANNELS, STEPS), np.float32))}, "damaged_array"),
        ({LATENT: npy(np.array([{}], dtype=object), allow_pickle=True)}, "damaged_array"),
        ({LATENT: latent_file(np.ones((2, CHANNELS, STEPS)), "bytes")[:-2]}, "damaged_array"),
        ({LATENT: latent_file(np.ones((2, CHANNELS, STEPS + 1)), "bytes")}, "latent_of_another_shape"),
        ({TEXT: half_file(np.zeros((1, WIDTH)))}, "text_of_another_shape"),
        ({TEXT: half_file(np.zeros((2, WIDTH + 1)))}, "text_of_another_shape"),
        ({"json": b"[]"}, "no_record"),
    ],
)
def test_what_cannot_be_learned_from_has_a_reason(change, reason):
    with pytest.raises(Unusable, match=reason):
        KIND.clip(sample(**change), None, None)


def test_a_member_that_is_not_there_has_a_reason():
    for name, reason in ((LATENT, "no_latent"), (TEXT, "no_text")):
        one = sample()
        del one[name]
        with pytest.raises(Unusable, match=reason):
            KIND.clip(one, None, None)


def by_ear(share):
    return Latents(CHANNELS, STEPS, WIDTH, audio_share=share, audio_columns=(0, 2))


def test_a_sound_s_vector_stands_for_its_caption_s():
    one = sample(("one",)) | {AUDIO: half_file(np.array([7, 9]))}
    assert by_ear(1.0).clip(one, None, np.random.default_rng(0)).text.tolist() == [7, 1, 9]
    assert by_ear(1.0).clip(one, None, None).text.tolist() == [0, 1, 2]  # held-out clips are read
    assert by_ear(0.0).clip(sample(("one",)), None, np.random.default_rng(0)).text.tolist() == [0, 1, 2]
    draws = [by_ear(0.3).clip(one, None, np.random.default_rng(seed)).text[0] == 7 for seed in range(300)]
    assert np.mean(draws) == pytest.approx(0.3, abs=0.08)
    assert draws == [by_ear(0.3).clip(one, None, np.random.default_rng(seed)).text[0] == 7 for seed in range(300)]


def test_a_sound_without_its_vector_has_a_reason():
    for change, reason in (({}, "no_audio"), ({AUDIO: half_file(np.ones(3))}, "audio_of_another_shape")):
        with pytest.raises(Unusable, match=reason):
            by_ear(0.01).clip(sample() | change, None, np.random.default_rng(0))
