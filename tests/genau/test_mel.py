"""The front end against the reference's spectrogram."""

import numpy as np
import pytest
import torch

from genau.mel import CLIP_SAMPLES, FLOOR, FRAMES, LogMel, levelled
from tests.genau_fill import golden, wave


def test_a_clip_is_levelled_and_heard_as_the_reference_does():
    found = golden("logmel")
    ours = levelled(wave())
    np.testing.assert_array_equal(wave()[:16], found["wave_head"])
    np.testing.assert_array_equal(ours[:16], found["wave_norm_head"])
    padded = torch.from_numpy(np.pad(ours, (0, CLIP_SAMPLES - ours.size)))[None]
    heard = LogMel()(padded)[0].numpy()
    assert heard.shape == (FRAMES, 64)
    np.testing.assert_allclose(heard, found["log_mel"], atol=5e-5)


@pytest.mark.parametrize("quiet", [np.zeros(1000, np.float32), np.full(1000, 0.3, np.float32), np.zeros(0, np.float32)])
def test_silence_stays_silence(quiet):
    assert not levelled(quiet).any()
    assert levelled(quiet).dtype == np.float32


def test_nothing_is_the_floor():
    assert LogMel()(torch.zeros(2, 3200)).eq(FLOOR).all()
