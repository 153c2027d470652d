import numpy as np
import pytest

from training.mixtures import joined, mix


def rms(wave):
    return float(np.sqrt(np.mean(wave**2)))


@pytest.mark.parametrize("snr_db", [0.0, 6.0, 12.0])
def test_the_background_is_as_soft_as_asked(snr_db):
    rng = np.random.default_rng(0)
    front, back = (0.01 * rng.standard_normal((2, 4000))).astype(np.float32)
    mixed = mix(front, 5 * back, snr_db)
    assert 20 * np.log10(rms(front) / rms(mixed - front)) == pytest.approx(snr_db, abs=0.01)


def test_a_mixture_is_as_long_as_the_longer_clip_and_does_not_clip():
    loud = np.ones(100, dtype=np.float32)
    mixed = mix(loud, np.ones(300, dtype=np.float32), 0.0)
    assert mixed.size == 300
    assert np.abs(mixed).max() == 1.0
    assert mixed.dtype == np.float32


def test_silence_under_a_clip_changes_nothing():
    wave = np.full(50, 0.5, dtype=np.float32)
    assert (mix(wave, np.zeros(50, dtype=np.float32), 6.0) == wave).all()


def test_captions_are_joined_as_sentences():
    assert joined("A dog barks.", "Rain falls", background=False) == "A dog barks and rain falls"
    assert joined("A dog barks", "Rain falls.", background=True) == "A dog barks, rain falls in the background"
    assert joined("A dog barks", "", background=True) == "A dog barks"
