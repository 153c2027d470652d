import numpy as np
import pytest
import soundfile

from audio.bandwidth import bandwidth_hz
from audio.codec import decode_bytes, encode
from audio.resample import resample

RATE = 48_000


def stored(wave, rate_hz=RATE, codec="flac"):
    """As a corpus has it: rounded to 16 bits, or through a lossy codec."""
    return decode_bytes(encode(np.asarray(wave, np.float32), rate_hz, codec))[0]


def noise(seconds=2.0, rate_hz=RATE, amplitude=0.1):
    chance = np.random.default_rng(5)
    return (amplitude * chance.standard_normal(round(seconds * rate_hz))).astype(np.float32)


def tone(hz, amplitude=0.5, seconds=2.0):
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def test_a_telephone_recording_stays_one_at_48_khz(request):
    voice, rate_hz = soundfile.read(request.path.parents[1] / "data" / "sounds" / "speech_woman.flac", dtype="float32")
    narrow = stored(resample(resample(voice, rate_hz, 8000), 8000, RATE))
    assert bandwidth_hz(narrow, RATE) == pytest.approx(4000, abs=300)


@pytest.mark.parametrize("amplitude", [0.1, 0.001, 0.0003])
@pytest.mark.parametrize("from_hz", [8000, 16_000, 22_050])
def test_noise_of_a_lower_rate_ends_where_that_rate_ends(from_hz, amplitude):
    wave = stored(resample(noise(rate_hz=from_hz, amplitude=amplitude), from_hz, RATE))
    assert bandwidth_hz(wave, RATE) == pytest.approx(from_hz / 2, rel=0.08)


@pytest.mark.parametrize("codec", ["mp3", "opus"])
def test_a_lossy_codec_adds_no_band(codec):
    wave = stored(resample(noise(rate_hz=8000), 8000, RATE), codec=codec)
    assert bandwidth_hz(wave, RATE) == pytest.approx(4000, rel=0.15)


@pytest.mark.parametrize("amplitude", [0.5, 20 / 32768, 3 / 32768])
def test_a_tone_is_as_wide_as_it_is_high_however_quiet(amplitude):
    assert bandwidth_hz(stored(tone(997, amplitude)), RATE) == pytest.approx(1000, abs=320)


def test_full_band_noise_is_full_band_however_quiet_and_short():
    assert bandwidth_hz(stored(noise()), RATE) == 24_000
    assert bandwidth_hz(stored(noise(amplitude=1e-4)), RATE) > 20_000
    assert bandwidth_hz(stored(noise(seconds=0.01)), RATE) == 24_000
    assert bandwidth_hz(noise(rate_hz=8000), 8000) == 4000


def test_one_click_in_a_long_hum_is_heard():
    wave = tone(100, 0.05, seconds=10)
    wave[5 * RATE : 5 * RATE + 48] += noise(0.001, amplitude=0.05)
    assert bandwidth_hz(stored(wave), RATE) > 20_000


def test_what_is_cut_off_in_the_middle_of_a_wave_is_no_click():
    assert bandwidth_hz(stored(tone(440)[: RATE + 27]), RATE) < 1000


def test_a_constant_and_silence_and_next_to_nothing_have_no_content():
    assert bandwidth_hz(np.zeros(RATE, np.float32), RATE) == 0
    assert bandwidth_hz(np.zeros(0, np.float32), RATE) == 0
    assert bandwidth_hz(np.full(5, 0.5, np.float32), RATE) == 0
