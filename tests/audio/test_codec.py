import hashlib

import numpy as np
import pytest
import soundfile

from audio.codec import EXTENSIONS, decode_bytes, encode
from audio.faults import DecodeError


def tone(rate, seconds=2.0, channels=None):
    t = np.arange(int(rate * seconds)) / rate
    return (0.5 * np.sin(2 * np.pi * 440 * t) + 0.2 * np.sin(2 * np.pi * 1234 * t)).astype(np.float32)


@pytest.mark.parametrize("codec", ["flac", "wav"])
@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_lossless_codecs_keep_sixteen_bits(codec, rate):
    wave = tone(rate)
    data = encode(wave, rate, codec)
    read, read_rate = decode_bytes(data)
    assert read_rate == rate
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, wave, atol=1 / 65536 + 1e-7)
    assert encode(read, rate, codec) == data


@pytest.mark.parametrize(
    ("codec", "rate", "read_at"), [("opus", 48000, 48000), ("opus", 16000, 48000), ("mp3", 44100, 44100)]
)
def test_lossy_codecs_keep_length_and_place(codec, rate, read_at):
    read, read_rate = decode_bytes(encode(tone(rate), rate, codec))
    assert read_rate == read_at  # an Opus decoder always gives 48 kHz
    assert read.size == 2 * read_at
    np.testing.assert_allclose(read[2000:-2000], tone(read_at)[2000:-2000], atol=0.05)


@pytest.mark.parametrize("codec", EXTENSIONS)
def test_bytes_are_deterministic(codec):
    first, second = (hashlib.sha256(encode(tone(48000), 48000, codec)).hexdigest() for _ in range(2))
    assert first == second


def test_what_is_too_loud_is_clipped_not_wrapped():
    read, _ = decode_bytes(encode(np.array([3.0, -3.0, 1.0, -1.0], np.float32), 16000, "flac"))
    np.testing.assert_allclose(read, [32767 / 32768, -1, 32767 / 32768, -1])


@pytest.mark.parametrize("codec", EXTENSIONS)
@pytest.mark.parametrize(
    "wave",
    [
        np.zeros(0, np.float32),
        np.array([0, np.nan], np.float32),
        np.array([0, np.inf], np.float32),
        np.zeros((2, 100), np.float32),
    ],
)
def test_waves_that_are_none_are_refused(codec, wave):
    with pytest.raises(ValueError, match="wave"):
        encode(wave, 48000, codec)


@pytest.mark.parametrize(("codec", "rate"), [("opus", 44100), ("mp3", 7000), ("flac", 0), ("wav", -1), ("ogg", 48000)])
def test_rates_and_codecs_that_do_not_exist_are_refused(codec, rate):
    with pytest.raises(ValueError, match=r"sample rates|codec must be"):
        encode(tone(8000), rate, codec)


def test_one_sample_is_a_wave():
    assert decode_bytes(encode(np.array([0.25], np.float32), 48000, "flac"))[0].tolist() == [0.25]


def test_stereo_is_averaged(tmp_path):
    soundfile.write(tmp_path / "two.wav", np.array([[0.5, 0.25]] * 100), 16000)
    assert decode_bytes((tmp_path / "two.wav").read_bytes())[0] == pytest.approx(0.375)


@pytest.mark.parametrize("data", [b"", b"fLaC", b"RIFF....WAVE", b"no audio at all" * 50, b"OggS" + bytes(100)])
def test_bytes_that_are_no_audio_say_so(data):
    with pytest.raises(DecodeError) as error:
        decode_bytes(data)
    assert error.value.reason == ("undecodable" if data else "empty_file")


@pytest.mark.parametrize("codec", ["opus", "mp3"])
def test_a_lower_bit_rate_is_smaller_and_still_that_long(codec):
    small = encode(tone(48000), 48000, codec, bits_per_s=32_000)
    assert len(small) < 0.6 * len(encode(tone(48000), 48000, codec))
    assert decode_bytes(small)[0].size == 2 * 48000
