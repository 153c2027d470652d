import numpy as np
import pyarrow as pa
import pytest

from audio.codec import encode
from stages.measure import Measure

RATE = 16000


def run(waves, **options):
    audio = [wave if isinstance(wave, bytes) or wave is None else encode(wave, RATE, "flac") for wave in waves]
    table = pa.table({"clip_id": [str(k) for k in range(len(audio))], "audio": pa.array(audio, pa.large_binary())})
    stage = Measure(**options)
    out = stage.run(table)
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
