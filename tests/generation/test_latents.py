import io
import json

import numpy as np
import pytest

from generation.data_recipe import Filters
from generation.latents import LATENT, TEXT, Latents, array_bytes
from training.samples import Unusable

CHANNELS, STEPS, WIDTH = 2, 5, 3
KIND = Latents(CHANNELS, STEPS, WIDTH)


def sample(texts=("one", "two"), **change):
    latent = np.arange(2 * CHANNELS * STEPS, dtype=np.float16).reshape(2, CHANNELS, STEPS)
    vectors = np.arange(len(texts) * WIDTH).reshape(-1, WIDTH)
    told = {"text": list(texts), "dataset": "theirs", "clap_score": 0.3, "duration_s": 3.2}
    made = {LATENT: array_bytes(latent), TEXT: array_bytes(vectors), "json": json.dumps(told).encode()}
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
    batch = KIND.batch([KIND.clip(sample(), "ours", None), KIND.clip(sample(), None, None)], None)
    assert batch.mean.shape == batch.std.shape == (2, CHANNELS, STEPS)
    assert batch.mean[0, 0, 0] == 0
    assert batch.std[0, 0, 0] == CHANNELS * STEPS
    assert batch.datasets == ["ours", "theirs"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({LATENT: b""}, "damaged_array"),
        ({LATENT: b"\x93NUMPY\x01\x00"}, "damaged_array"),
        ({LATENT: npy(np.zeros((2, CHANNELS, STEPS), np.float32))}, "damaged_array"),
        ({LATENT: npy(np.array([{}], dtype=object), allow_pickle=True)}, "damaged_array"),
        ({LATENT: array_bytes(np.zeros((2, CHANNELS, STEPS)))[:-2]}, "damaged_array"),
        ({LATENT: array_bytes(np.zeros((2, CHANNELS, STEPS + 1)))}, "latent_of_another_shape"),
        ({TEXT: array_bytes(np.zeros((1, WIDTH)))}, "text_of_another_shape"),
        ({TEXT: array_bytes(np.zeros((2, WIDTH + 1)))}, "text_of_another_shape"),
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
