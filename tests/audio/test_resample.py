import numpy as np
import pytest

from audio.resample import resample


@pytest.mark.parametrize(("from_hz", "to_hz"), [(44100, 48000), (48000, 16000), (8000, 48000), (22050, 32000)])
def test_a_tone_stays_the_tone_in_the_same_place(from_hz, to_hz):
    def tone(rate):
        return np.sin(2 * np.pi * 500 * np.arange(rate) / rate).astype(np.float32)

    wave = resample(tone(from_hz), from_hz, to_hz)
    assert wave.dtype == np.float32
    assert wave.size == to_hz
    edge = to_hz // 10
    np.testing.assert_allclose(wave[edge:-edge], tone(to_hz)[edge:-edge], atol=1e-3)


def test_nothing_and_the_same_rate():
    assert resample(np.zeros(0, np.float32), 44100, 48000).size == 0
    wave = np.arange(5, dtype=np.float32)
    np.testing.assert_array_equal(resample(wave, 16000, 16000), wave)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="above zero"):
        resample(np.zeros(5, np.float32), 0, 16000)
    with pytest.raises(ValueError, match="dimension"):
        resample(np.zeros((5, 2), np.float32), 8000, 16000)
