import numpy as np
import pyarrow as pa
import pytest

from audio.codec import encode
from audio.resample import resample
from stages.measure import Measure

RATE = 16000


def run(waves, planned_ms=1000, fold_db=None, **options):
    audio = [wave if isinstance(wave, bytes) or wave is None else encode(wave, RATE, "flac") for wave in waves]
    columns = {
        "clip_id": [str(k) for k in range(len(audio))],
        "audio": pa.array(audio, pa.large_binary()),
        "start_ms": [500] * len(audio),
        "end_ms": [500 + planned_ms] * len(audio),
    }
    if fold_db is not None:
        columns["mono_fold_db"] = pa.array(fold_db, pa.float32())
    stage = Measure(**options)
    out = stage.run(pa.table(columns))
    for field in stage.adds:
        assert out.schema.field(field.name).type == field.type
    return out.to_pylist()


LOUD = (0.5 * np.sin(np.arange(RATE) / 5)).astype(np.float32)
SILENT = np.zeros(RATE, np.float32)
CLIPPED = np.clip(5 * LOUD, -1, 1)


def test_it_measures_and_ends_nothing_by_default():
    loud, silent, clipped = run([LOUD, SILENT, CLIPPED])
    assert loud["peak_dbfs"] == pytest.approx(-6.02, abs=0.05)
    assert loud["rms_dbfs"] == pytest.approx(-9.03, abs=0.05)
    assert silent["silence_ratio"] == 1
    assert clipped["clipping_ratio"] > 0.5
    assert {row["outcome"] for row in (loud, silent, clipped)} == {None}


def test_limits_end_clips_with_their_reason():
    rows = run([LOUD, SILENT, CLIPPED], max_silence_ratio=0.9, max_clipping_ratio=0.1)
    assert [(row["outcome"], row["reason"]) for row in rows] == [
        (None, None),
        ("filtered", "silent"),
        ("filtered", "clipped"),
    ]
    assert rows[1]["silence_ratio"] == 1  # an ended clip keeps what was measured


def test_a_clip_at_the_limit_stays():
    assert run([SILENT], max_silence_ratio=1.0)[0]["outcome"] is None


def test_bytes_that_are_no_audio_fail_and_are_not_measured():
    broken, nothing, good = run([b"fLaC and then nothing", None, LOUD])
    assert (broken["outcome"], broken["reason"], broken["peak_dbfs"]) == ("failed", "undecodable", None)
    assert (nothing["outcome"], nothing["reason"]) == ("failed", "empty_file")
    assert good["outcome"] is None


NARROW = resample(
    resample(0.1 * np.random.default_rng(0).standard_normal(RATE).astype(np.float32), RATE, 4000), 4000, RATE
)


@pytest.mark.parametrize(
    ("wave", "limit", "reason"),
    [
        (0.001 * LOUD, {"min_rms_dbfs": -60}, "too_quiet"),
        (LOUD + 0.1, {"max_dc_offset": 0.02}, "dc_offset"),
        (LOUD - 0.1, {"max_dc_offset": 0.02}, "dc_offset"),
        (NARROW, {"min_bandwidth_hz": 3000}, "narrow_band"),
        (LOUD[: RATE // 2], {"min_duration_s": 0.6}, "too_short"),
        (LOUD[: RATE // 2], {"max_missing_ratio": 0.4}, "cut_short"),
    ],
)
def test_each_limit_has_its_reason(wave, limit, reason):
    (kept,) = run([wave])
    (ended,) = run([wave], **limit)
    assert (kept["outcome"], ended["outcome"], ended["reason"]) == (None, "filtered", reason)
    assert ended["detail"]
    (lively,) = run([LOUD + 0.01 * np.random.default_rng(1).standard_normal(RATE).astype(np.float32)], **limit)
    assert lively["outcome"] is None


def test_channels_that_cancelled_are_known_from_the_cut():
    rows = run([LOUD, LOUD, LOUD], fold_db=[-40.0, -3.0, None], min_mono_fold_db=-12)
    assert [row["reason"] for row in rows] == ["mono_cancelled", None, None]


def test_the_fold_is_read_only_where_there_is_a_limit_to_it():
    assert "mono_fold_db" not in Measure().reads
    assert "mono_fold_db" in Measure(min_mono_fold_db=-12).reads


def test_a_clip_is_not_short_for_the_rounding():
    assert run([LOUD], max_missing_ratio=0, min_duration_s=1.0)[0]["outcome"] is None


def test_it_measures_offset_and_bandwidth():
    shifted, narrow = run([LOUD + 0.1, NARROW])
    assert shifted["dc_offset"] == pytest.approx(0.1 + float(LOUD.mean()), abs=1e-3)
    assert narrow["bandwidth_hz"] == pytest.approx(2000, abs=200)
