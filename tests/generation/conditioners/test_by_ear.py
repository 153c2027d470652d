"""Sounds in their captions' place: the embedded scorer, a ClapModel, and a T5 that only reads."""

import numpy as np
import pytest

from audio.resample import resample
from generation.conditioners.by_ear import by_ear, told
from generation.conditioners.cache import Cached
from generation.conditioners.load import load_conditioner
from scorer.load import load_scorer
from tests.small_clap import EMBEDDING_DIM, save_folder, small_model
from tests.small_t5 import WIDTH, save_t5
from tests.sound_shards import tone

RATE_HZ = 16_000
WAVES = [tone(440, 10.24), tone(900, 1.0)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoders")
    save_folder(small_model(), folder / "clap")
    save_t5(folder / "t5")
    return folder


@pytest.fixture(scope="module")
def both(folder):
    """T5 first: then CLAP's columns are not the first ones."""
    return load_conditioner([f"t5:{folder}/t5", f"clap:{folder}/clap"])


def test_clap_hears_what_its_scorer_hears_and_t5_nothing(folder, both):
    scorer = load_scorer(f"{folder}/clap")
    heard = both.hear(WAVES, RATE_HZ)
    assert both.hears.tolist() == list(range(WIDTH, WIDTH + EMBEDDING_DIM))
    assert heard.shape == (2, EMBEDDING_DIM)
    true = [resample(wave[: 10 * RATE_HZ], RATE_HZ, scorer.sample_rate_hz) for wave in WAVES]
    np.testing.assert_allclose(heard, scorer.embed_audio(true), atol=1e-6)
    alone = load_conditioner([f"t5:{folder}/t5"])
    assert (alone.hears.size, alone.hear(WAVES, RATE_HZ).shape) == (0, (2, 0))


def test_zeros_behind_a_clip_are_not_heard():
    embedded = load_conditioner(["embedded"])
    filled = np.pad(WAVES[1], (0, 9 * RATE_HZ))
    silence = np.zeros(RATE_HZ, np.float32)
    heard = embedded.hear([WAVES[1], filled, silence], RATE_HZ)
    assert (heard[0] == heard[1]).all()
    assert np.isfinite(heard).all()
    assert embedded.hears.tolist() == list(range(embedded.width))


def test_what_is_heard_takes_the_place_of_what_clap_reads(both, tmp_path):
    captions, waves = (
        ["a dog barks", "water runs"],
        np.stack([WAVES[0], np.pad(WAVES[1], (0, WAVES[0].size - RATE_HZ))]),
    )
    read = both.embed(captions)
    mixed = told(Cached(both, tmp_path), captions, waves, np.array([False, True]), RATE_HZ)
    assert (mixed[0] == read[0]).all()
    assert (mixed[1, :WIDTH] == read[1, :WIDTH]).all()
    np.testing.assert_allclose(mixed[1, WIDTH:], both.hear(WAVES[1:], RATE_HZ)[0], atol=1e-6)
    assert np.abs(mixed[1, WIDTH:] - read[1, WIDTH:]).max() > 0.01
    assert (Cached(both, tmp_path).embed(captions) == read).all()  # what is kept is what was read


def test_the_share_is_drawn_clip_by_clip_and_the_same_again():
    drawn = by_ear(4000, 0.31, np.random.default_rng(0))
    assert drawn.mean() == pytest.approx(0.31, abs=0.03)
    assert (drawn == by_ear(4000, 0.31, np.random.default_rng(0))).all()
    rng = np.random.default_rng(0)
    assert not by_ear(10, 0.0, rng).any()
    assert rng.random() == np.random.default_rng(0).random()  # nothing was drawn
    assert not by_ear(10, 1.0, None).any()
