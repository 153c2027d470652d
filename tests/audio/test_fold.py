import av
import numpy as np
import pytest
import soundfile

from audio.decode import AudioSource
from audio.fold import FLOOR_DB, FoldMeter
from audio.mixdown import channels_of, mono

RATE = 16_000
CHANCE = np.random.default_rng(3)
LEFT, RIGHT = (0.2 * CHANCE.standard_normal((2, 3 * RATE))).astype(np.float32)


def level(tmp_path, *channels, subtype="PCM_16", suffix="wav", span_ms=(500, 2500), rate_hz=None):
    path = tmp_path / f"x.{suffix}"
    soundfile.write(path, np.stack(channels, axis=1), RATE, subtype=subtype)
    with AudioSource(path) as source:
        return source.folded_segment(*span_ms, rate_hz).mono_fold_db


@pytest.mark.parametrize(
    ("right", "db"),
    [(LEFT, 0.0), (RIGHT, -3.01), (0 * LEFT, -3.01), (-0.8 * LEFT, -19.1)],
    ids=["identical", "unrelated", "one is empty", "nearly inverted"],
)
@pytest.mark.parametrize("rate_hz", [None, 48_000])
def test_what_folding_two_channels_costs(tmp_path, right, db, rate_hz):
    assert level(tmp_path, LEFT, right, rate_hz=rate_hz) == pytest.approx(db, abs=0.1)


def test_an_inverted_channel_leaves_nothing(tmp_path):
    assert level(tmp_path, LEFT, -LEFT, subtype="FLOAT") == FLOOR_DB


@pytest.mark.parametrize(
    ("subtype", "suffix"), [("PCM_U8", "wav"), ("PCM_24", "flac"), ("FLOAT", "wav"), ("DOUBLE", "wav")]
)
def test_every_sample_format_measures_the_same(tmp_path, subtype, suffix):
    assert level(tmp_path, LEFT, RIGHT, subtype=subtype, suffix=suffix) == pytest.approx(-3.01, abs=0.1)


def test_mono_and_silence_have_nothing_to_fold(tmp_path):
    assert level(tmp_path, LEFT) is None
    assert level(tmp_path, 0 * LEFT, 0 * LEFT) is None


def test_only_the_span_counts(tmp_path):
    right = np.where(np.arange(LEFT.size) < RATE, LEFT, -LEFT)
    assert level(tmp_path, LEFT, right, span_ms=(0, 1000)) == pytest.approx(0, abs=0.01)
    assert level(tmp_path, LEFT, right, span_ms=(1000, 3000)) < -80


def frame(planes, layout):
    made = av.AudioFrame.from_ndarray(np.stack(planes), format="fltp", layout=layout)
    made.sample_rate = RATE
    return made


def surround(**speakers):
    names = ("FL", "FR", "FC", "LFE", "SL", "SR")
    heard = frame([speakers.get(name, 0 * LEFT) for name in names], "5.1(side)")
    meter = FoldMeter(0, LEFT.size)
    meter.hear(0, channels_of(heard), mono(heard))
    return meter.level_db


def test_surround_is_measured_against_what_the_fold_hears_of_it():
    assert surround(**dict.fromkeys(("FL", "FR", "FC", "SL", "SR"), LEFT)) == pytest.approx(0, abs=0.01)
    assert surround(FL=LEFT, FR=-LEFT) == FLOOR_DB
    assert surround(LFE=LEFT) is None  # the fold has no ear for it
    assert surround(FC=LEFT, FL=RIGHT) < 0


def test_what_is_no_number_measures_nothing():
    meter = FoldMeter(0, LEFT.size)
    heard = frame([LEFT, np.full_like(LEFT, np.nan)], "stereo")
    meter.hear(0, channels_of(heard), mono(heard))
    assert meter.level_db is None
