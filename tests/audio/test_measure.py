import numpy as np
import pytest

from audio.measure import FLOOR_DBFS, measure


def sine(amplitude, seconds=1.0, rate=48000):
    return (amplitude * np.sin(2 * np.pi * 1000 * np.arange(int(rate * seconds)) / rate)).astype(np.float32)


def test_a_full_scale_sine():
    found = measure(sine(0.99), 48000)
    assert found.peak_dbfs == pytest.approx(-0.087, abs=0.01)
    assert found.rms_dbfs == pytest.approx(-3.1, abs=0.01)
    assert (found.silence_ratio, found.clipping_ratio) == (0, 0)


def test_silence_measures_as_the_floor():
    found = measure(np.zeros(48000, np.float32), 48000)
    assert (found.peak_dbfs, found.rms_dbfs) == (FLOOR_DBFS, FLOOR_DBFS)
    assert (found.silence_ratio, found.clipping_ratio) == (1, 0)
    assert measure(np.zeros(0, np.float32), 48000).silence_ratio == 1


def test_half_silent():
    wave = np.concatenate([sine(0.5), np.zeros(48000, np.float32)])
    assert measure(wave, 48000).silence_ratio == pytest.approx(0.5)


@pytest.mark.parametrize(("dbfs", "ratio"), [(-61, 1), (-59, 0)])
def test_silence_begins_below_minus_sixty(dbfs, ratio):
    assert measure(sine(10 ** (dbfs / 20) * 2**0.5), 48000).silence_ratio == ratio


def test_a_short_last_frame_counts_for_its_length():
    wave = np.concatenate([sine(0.5, 0.02), np.zeros(240, np.float32)])
    assert measure(wave, 48000).silence_ratio == pytest.approx(240 / 1200)


def test_clipping_counts_runs_of_three():
    wave = np.zeros(1000, np.float32)
    wave[10:12] = 1.0  # a peak
    wave[100:103] = 1.0
    wave[200:202], wave[202:205] = 1.0, -1.0
    wave[997:] = -1.0
    assert measure(wave, 48000).clipping_ratio == pytest.approx((3 + 5 + 3) / 1000)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused(bad):
    with pytest.raises(ValueError, match="NaN or infinity"):
        measure(np.array([0.1, bad], np.float32), 48000)


def test_stereo_and_no_rate_are_refused():
    with pytest.raises(ValueError, match="dimension"):
        measure(np.zeros((2, 10), np.float32), 48000)
    with pytest.raises(ValueError, match="sample rate"):
        measure(np.zeros(10, np.float32), 0)


def test_a_constant_is_an_offset():
    assert measure(sine(0.5) - 0.25, 48000).dc_offset == pytest.approx(-0.25, abs=1e-6)
    assert measure(sine(0.5), 48000).dc_offset == pytest.approx(0, abs=1e-6)
    assert measure(np.zeros(0, np.float32), 48000).dc_offset == 0


def test_the_bandwidth_is_measured_too():
    assert measure(sine(0.5), 48000).bandwidth_hz == pytest.approx(1000, abs=320)
    assert measure(np.zeros(0, np.float32), 48000).bandwidth_hz == 0
