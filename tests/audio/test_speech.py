import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audio.resample import resample
from audio.speech import SpeechDetector, spans_ms

SOUNDS = Path(__file__).parent.parent / "data" / "sounds"


def sound(name):
    wave, rate = soundfile.read(SOUNDS / name, dtype="float32")
    return resample(wave, rate, 16000)


@pytest.fixture(scope="module")
def detector():
    return SpeechDetector()


def test_a_voice_is_speech_and_a_glass_is_not(detector):
    assert detector.speech_ratio(sound("speech_woman.flac")) > 0.8
    assert detector.speech_ratio(sound("glass_rub.flac")) == 0
    assert detector.speech_ratio(np.zeros(160_000, np.float32)) == 0


def test_speech_is_found_where_it_is(detector):
    voice = sound("speech_woman.flac")
    quiet = np.zeros(48_000, np.float32)
    wave = np.concatenate([quiet, voice, quiet])
    spans = detector.speech_ms(wave)
    assert spans[0][0] == pytest.approx(3000, abs=200)
    assert spans[-1][1] == pytest.approx(3000 + voice.size / 16, abs=300)
    assert all(start < end for start, end in spans)
    assert detector.speech_ratio(wave) == pytest.approx(sum(e - s for s, e in spans) / (wave.size / 16))


def test_both_exports_of_the_model_agree(detector):
    streaming = SpeechDetector()
    streaming._sequence = False
    streaming._session = _stream_session()
    voice = sound("speech_woman.flac")
    np.testing.assert_allclose(streaming.probabilities(voice), detector.probabilities(voice), atol=1e-4)


def _stream_session():
    from audio.speech import _model_folder, _session

    return _session(_model_folder() / "silero_vad.onnx", 1)


def test_state_is_carried_over_long_waves(detector, monkeypatch):
    voice = sound("speech_woman.flac")
    at_once = detector.probabilities(voice)
    monkeypatch.setattr("audio.speech._BLOCK", 7)
    np.testing.assert_allclose(detector.probabilities(voice), at_once, atol=1e-5)


def test_one_wave_leaves_nothing_behind_for_the_next(detector):
    glass = sound("glass_rub.flac")
    alone = detector.probabilities(glass)
    detector.probabilities(sound("speech_woman.flac"))
    np.testing.assert_array_equal(detector.probabilities(glass), alone)


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513])
def test_waves_of_a_window_or_less(detector, size):
    wave = np.zeros(size, np.float32)
    assert detector.speech_ms(wave) == []
    assert detector.speech_ratio(wave) == 0


def test_bad_waves_are_refused(detector):
    with pytest.raises(ValueError, match="NaN"):
        detector.speech_ratio(np.full(1000, np.nan, np.float32))
    with pytest.raises(ValueError, match="dimension"):
        detector.speech_ms(np.zeros((2, 1000), np.float32))


def test_spans_join_over_short_pauses_and_drop_short_bursts():
    def heard(*runs):
        return np.concatenate([np.full(count, level, np.float32) for level, count in runs])

    joined = heard((0, 10), (0.9, 20), (0, 2), (0.9, 20), (0, 20))
    assert spans_ms(joined, joined.size * 32) == [(320 - 30, 52 * 32 + 30)]
    burst = heard((0, 10), (0.9, 5), (0, 20))
    assert spans_ms(burst, burst.size * 32) == []
    doubt = heard((0, 10), (0.9, 10), (0.4, 10), (0, 10))  # between the two limits speech goes on
    assert spans_ms(doubt, doubt.size * 32) == [(290, 30 * 32 + 30)]
    to_the_end = heard((0.9, 30))
    assert spans_ms(to_the_end, 950) == [(0, 950)]


def test_listening_does_not_load_torch():
    code = "import sys; from audio.speech import SpeechDetector; SpeechDetector(); print('torch' in sys.modules)"
    root = Path(__file__).parents[2]
    ran = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
