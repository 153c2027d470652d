"""Sounds on disk: whole or not there; passed over only if they were made as asked now."""

import json

import numpy as np
import pytest
import soundfile

from generation.sounds import is_there, write_sound
from generation.spectrogram import RANGE_DB, png, spectrogram_db
from generation.waves import peaked

RATE = 16_000
WAVE = np.sin(np.arange(RATE) * 0.1).astype(np.float32) * 0.5
MADE_OF = {"prompt": "雨", "draws": (0, 1), "settings": {"steps": 5, "guidance": 4.0}}


def test_what_is_written_is_there(tmp_path):
    write_sound(
        tmp_path, "rain", WAVE, RATE, MADE_OF, {"prompt": "雨", "clap_scores": [0.5]}, png(WAVE, RATE, "$x^ 雨")
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rain.json", "rain.png", "rain.wav"]
    sound, rate = soundfile.read(tmp_path / "rain.wav", dtype="float32")
    assert rate == RATE
    np.testing.assert_allclose(sound, WAVE, atol=1e-4)
    record = json.loads((tmp_path / "rain.json").read_text(encoding="utf-8"))
    assert (record["prompt"], record["samples"], record["clap_scores"]) == ("雨", RATE, [0.5])
    assert is_there(tmp_path, "rain", MADE_OF, picture=True)
    assert (tmp_path / "rain.png").read_bytes().startswith(b"\x89PNG")


def test_other_settings_a_damaged_sound_and_a_missing_picture_are_not_there(tmp_path):
    write_sound(tmp_path, "rain", WAVE, RATE, MADE_OF, {})
    assert is_there(tmp_path, "rain", MADE_OF)
    assert not is_there(tmp_path, "rain", MADE_OF | {"settings": {"steps": 6, "guidance": 4.0}})
    assert not is_there(tmp_path, "rain", MADE_OF, picture=True)
    assert not is_there(tmp_path, "other", MADE_OF)
    (tmp_path / "rain.wav").write_bytes((tmp_path / "rain.wav").read_bytes()[:-2])
    assert not is_there(tmp_path, "rain", MADE_OF)
    for text in ("", "[]", '{"wav_sha256": 3}'):
        (tmp_path / "rain.json").write_text(text)
        assert not is_there(tmp_path, "rain", MADE_OF)


def test_a_write_that_fails_leaves_nothing_half_written(tmp_path):
    (tmp_path / "rain.wav").mkdir()
    (tmp_path / "rain.wav" / "x").touch()
    with pytest.raises(OSError, match=r"rain\.wav"):
        write_sound(tmp_path, "rain", WAVE, RATE, MADE_OF, {})
    assert [path.name for path in tmp_path.iterdir()] == ["rain.wav"]


def test_silence_is_not_made_loud():
    assert not peaked(np.zeros(10, np.float32)).any()
    np.testing.assert_array_equal(peaked(np.full(4, 1e-6, np.float32)), np.full(4, 1e-6, np.float32))
    assert np.abs(peaked(WAVE)).max() == pytest.approx(0.8)
    assert peaked(np.zeros(0, np.float32)).size == 0


def test_a_spectrogram_shows_the_tone_and_silence_is_dark():
    level = spectrogram_db(WAVE)
    assert level.shape == (513, 63)
    assert round(float(level[:, 30].argmax())) == round(0.1 / (2 * np.pi) * 1024)
    assert (level.max(), level.min()) == (0.0, -RANGE_DB)
    assert (spectrogram_db(np.zeros(3, np.float32)) <= 0).all()
    assert png(np.zeros(100, np.float32), RATE).startswith(b"\x89PNG")
