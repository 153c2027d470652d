import numpy as np
import pytest

from audio.codec import decode_bytes, encode
from audio.fingerprint import HOP_S, SAMPLE_RATE_HZ, WINDOW, fingerprint

RATE_HZ = 48_000


def rain(seed, seconds=6.0):
    """Noise with a tilt and a slow swell: steady, as far as an ear can tell."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft(rng.standard_normal(int(seconds * RATE_HZ)))
    wave = np.fft.irfft(spectrum / np.sqrt(1 + np.arange(len(spectrum)) / 2000))
    return (0.1 * wave / np.abs(wave).max() * (1 + 0.3 * np.sin(np.arange(len(wave)) / RATE_HZ))).astype(np.float32)


def errors(a, b, lag=0):
    """Share of bits that differ where frame f of a lies on frame f - lag of b."""
    a, b = a[max(lag, 0) :], b[max(-lag, 0) :]
    count = min(len(a), len(b))
    return np.bitwise_count(a[:count] ^ b[:count]).sum() / (32 * count)


def shared(a, b):
    return len(np.intersect1d(a.keys, b.keys))


def test_two_rains_differ_in_half_their_bits_and_share_no_key():
    a, b = fingerprint(rain(1), RATE_HZ), fingerprint(rain(2), RATE_HZ)
    assert errors(a.words, b.words) > 0.42
    assert shared(a, b) == 0


@pytest.mark.parametrize("codec", ["mp3", "opus"])
def test_a_re_encoded_rain_is_the_same_rain(codec):
    wave = rain(3)
    again, rate_hz = decode_bytes(encode(wave, RATE_HZ, codec))
    a, b = fingerprint(wave, RATE_HZ), fingerprint(again, rate_hz)
    assert errors(a.words, b.words) < 0.15
    assert shared(a, b) >= 5


@pytest.mark.parametrize("shift_ms", [50, 130, 480, 1000])
def test_a_shifted_cut_agrees_at_its_lag(shift_ms):
    wave = rain(4)
    a, b = fingerprint(wave, RATE_HZ), fingerprint(wave[shift_ms * 48 :], RATE_HZ)
    assert errors(a.words, b.words, lag=round(shift_ms / 1000 / HOP_S)) < 0.15
    assert shared(a, b) >= 3


def test_gain_and_faint_noise_change_little():
    wave = rain(5)
    noise = np.random.default_rng(0).standard_normal(len(wave)) * np.sqrt(np.mean(wave**2)) * 0.1
    a = fingerprint(wave, RATE_HZ)
    assert errors(a.words, fingerprint(wave / 4, RATE_HZ).words) < 0.001
    assert errors(a.words, fingerprint((wave + noise).astype(np.float32), RATE_HZ).words) < 0.2


def test_keys_lie_at_their_frames_in_a_shifted_copy_too():
    wave = rain(6)
    a, b = fingerprint(wave, RATE_HZ), fingerprint(wave[5 * 768 * 3 :], RATE_HZ)  # five hops
    place = dict(zip(b.keys.tolist(), b.places.tolist(), strict=True))
    lags = [at - place[key] for key, at in zip(a.keys.tolist(), a.places.tolist(), strict=True) if key in place]
    assert lags
    assert set(lags) == {5}


def test_silence_has_no_keys_and_what_is_too_short_no_words():
    silent = fingerprint(np.zeros(5 * RATE_HZ, np.float32), RATE_HZ)
    assert not silent.words.any()
    assert len(silent.keys) == 0
    for samples in (0, 1, WINDOW * RATE_HZ // SAMPLE_RATE_HZ):
        assert len(fingerprint(np.ones(samples, np.float32), RATE_HZ).words) == 0


def test_ten_seconds_take_about_a_kilobyte():
    found = fingerprint(rain(7, 10.0), RATE_HZ)
    assert 4 * len(found.words) + 6 * len(found.keys) < 1100


def test_bad_waves_are_refused():
    with pytest.raises(ValueError, match="one dimension"):
        fingerprint(np.zeros((2, 100), np.float32), RATE_HZ)
    with pytest.raises(ValueError, match="NaN"):
        fingerprint(np.array([0, np.nan], np.float32), RATE_HZ)
