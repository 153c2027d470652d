import av
import numpy as np
import pytest

from audio.mixdown import mono, speaker_weights


@pytest.mark.parametrize(
    ("format_name", "values", "expected"),
    [
        ("u8", np.array([128, 192, 0], np.uint8), [0, 0.5, -1]),
        ("s16", np.array([0, 16384, -32768], np.int16), [0, 0.5, -1]),
        ("s16p", np.array([0, 16384, -32768], np.int16), [0, 0.5, -1]),
        ("s32", np.array([0, 1 << 30, -(1 << 31)], np.int32), [0, 0.5, -1]),
        ("fltp", np.array([0, 0.5, -1], np.float32), [0, 0.5, -1]),
        ("dbl", np.array([0, 0.5, -1], np.float64), [0, 0.5, -1]),
    ],
)
def test_every_sample_format_comes_to_the_same(format_name, values, expected):
    frame = av.AudioFrame.from_ndarray(values.reshape(1, -1), format=format_name, layout="mono")
    wave = mono(frame)
    assert wave.dtype == np.float32
    np.testing.assert_allclose(wave, expected, atol=1e-6)


@pytest.mark.parametrize("format_name", ["s16", "s16p", "fltp"])
def test_interleaved_and_planar_stereo_are_averaged(format_name):
    kind = np.int16 if format_name.startswith("s16") else np.float32
    scale = 32768 if kind is np.int16 else 1
    left, right = np.array([0.5, 0.25, 0]) * scale, np.array([0, 0.25, 0.5]) * scale
    stacked = np.stack([left, right]).astype(kind)
    values = stacked if format_name.endswith("p") else np.ascontiguousarray(stacked.T.reshape(1, -1))
    frame = av.AudioFrame.from_ndarray(values, format=format_name, layout="stereo")
    np.testing.assert_allclose(mono(frame), [0.25, 0.25, 0.25], atol=1e-6)


@pytest.mark.parametrize("layout", ["mono", "stereo", "2.1", "5.1", "7.1", "octagonal", "hexadecagonal"])
def test_weights_add_up_to_one(layout):
    weights = speaker_weights(tuple(channel.name for channel in av.AudioLayout(layout).channels))
    assert weights.sum() == pytest.approx(1)
    assert (weights >= 0).all()


def test_only_deep_effects_or_unknown_speakers_are_averaged():
    np.testing.assert_allclose(speaker_weights(("LFE", "LFE2", "LFE")), 1 / 3)
    np.testing.assert_allclose(speaker_weights(("AMBI0", "AMBI1", "AMBI2", "AMBI3")), 0.25)
