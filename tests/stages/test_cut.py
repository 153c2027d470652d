import hashlib

import numpy as np
import pyarrow as pa
import pytest
import soundfile

from audio.codec import decode_bytes
from stages.base import Services
from stages.cut import Cut

RATE = 16000
WAVE = (0.3 * np.sin(2 * np.pi * (200 + 40 * np.arange(5 * RATE) / RATE) * np.arange(5 * RATE) / RATE)).astype(
    np.float32
)


@pytest.fixture
def media(tmp_path):
    path = tmp_path / "five seconds.wav"
    soundfile.write(path, WAVE, RATE, subtype="PCM_16")
    return str(path)


def cut(rows, **options):
    table = pa.table(
        {
            "clip_id": [f"x_{start}_{end}" for _, start, end in rows],
            "media_path": pa.array([path for path, _, _ in rows], pa.string()),
            "start_ms": pa.array([start for _, start, _ in rows], pa.int64()),
            "end_ms": pa.array([end for _, _, end in rows], pa.int64()),
        }
    )
    stage = Cut(**options)
    stage.open(Services(run_root=".", cache_dir=None))
    out = stage.run(table)
    stage.close()
    assert out.column("clip_id").equals(table.column("clip_id"))
    for field in stage.adds:
        assert out.schema.field(field.name).type == field.type
    return out.to_pylist()


def test_clips_are_cut_encoded_and_described(media):
    rows = cut([(media, 0, 1000), (media, 3000, 4500)], sample_rate_hz=RATE)
    for row, (first, last) in zip(rows, [(0, 16000), (48000, 72000)], strict=True):
        wave, rate = decode_bytes(row["audio"])
        assert rate == row["sample_rate_hz"] == RATE
        assert row["num_samples"] == wave.size == last - first
        assert row["codec"] == "flac"
        assert row["sha256"] == hashlib.sha256(row["audio"]).hexdigest()
        assert row["outcome"] is None
        assert row["pcm_sha256"] == hashlib.sha256((wave * 32768).astype("<i2").tobytes()).hexdigest()
        assert row["mono_fold_db"] is None  # a mono source has nothing to fold
        np.testing.assert_allclose(wave, WAVE[first:last], atol=1e-4)


def test_the_fold_is_measured_where_the_channels_still_are(tmp_path):
    half = WAVE.size // 2
    twice = np.stack([WAVE, WAVE], axis=1)
    twice[half:, 1] *= -1
    path = tmp_path / "half of it is wired the wrong way round.wav"
    soundfile.write(path, twice, RATE, subtype="PCM_16")
    rows = cut([(str(path), 0, 2000), (str(path), 3000, 5000), (str(path), 1500, 3500)])
    whole, cancelled, half_of_it = (row["mono_fold_db"] for row in rows)
    assert (whole, half_of_it) == pytest.approx((0.0, -3.01), abs=0.05)
    assert cancelled < -80  # what rounding left


def test_equal_sound_has_an_equal_pcm_hash_in_whatever_file_it_came(media, tmp_path):
    other = tmp_path / "other.flac"
    soundfile.write(other, soundfile.read(media, dtype="int16")[0], RATE)
    one, same, later = cut([(media, 0, 1000), (str(other), 0, 1000), (media, 1000, 2000)])
    assert one["pcm_sha256"] == same["pcm_sha256"] != later["pcm_sha256"]


def test_the_default_is_48_khz(media):
    (row,) = cut([(media, 1000, 2000)])
    assert (row["sample_rate_hz"], row["num_samples"]) == (48000, 48000)


def test_rows_of_several_sources_keep_their_order(media, tmp_path):
    other = tmp_path / "other.flac"
    soundfile.write(other, -WAVE, RATE)
    rows = cut(
        [(media, 0, 1000), (str(other), 0, 1000), (media, 1000, 2000), (str(other), 1000, 2000)], sample_rate_hz=RATE
    )
    waves = [decode_bytes(row["audio"])[0] for row in rows]
    np.testing.assert_allclose(waves[0], -waves[1], atol=1e-4)
    np.testing.assert_allclose(waves[2], -waves[3], atol=1e-4)


def test_the_same_clip_gives_the_same_bytes_whatever_is_cut_beside_it(media):
    alone = cut([(media, 2000, 3000)])[0]["audio"]
    among = cut([(media, 0, 1000), (media, 1000, 2000), (media, 2000, 3000)])[2]["audio"]
    assert alone == among


def test_what_lies_beyond_the_end_is_filtered(media):
    rows = cut([(media, 5000, 6000), (media, 60_000, 70_000), (media, 4800, 5800), (media, 4400, 9400)])
    assert [(row["outcome"], row["reason"]) for row in rows] == [("filtered", "past_end")] * 4
    assert all(row["audio"] is None and row["num_samples"] is None and row["sha256"] is None for row in rows)
    assert all(row["detail"] for row in rows)


def test_a_tail_worth_keeping_is_kept_under_its_planned_name(media):
    (row,) = cut([(media, 3000, 8000)], sample_rate_hz=RATE)
    assert row["outcome"] is None
    assert row["clip_id"] == "x_3000_8000"
    assert row["num_samples"] == 2 * RATE


def test_a_clip_planned_short_is_no_tail(media):
    (row,) = cut([(media, 1000, 1200)], sample_rate_hz=RATE)
    assert (row["outcome"], row["num_samples"]) == (None, 3200)


def test_bad_sources_fail_their_clips_and_no_others(media, tmp_path):
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "page.mp4").write_text("<html>" * 500)
    bad = [(str(tmp_path / name), 0, 1000) for name in ("empty.mp4", "page.mp4")]
    rows = cut([*bad, (media, 0, 1000), (None, 0, 1000), (media, 2000, 1000), (media, -10, 1000)])
    assert [(row["outcome"], row["reason"]) for row in rows] == [
        ("failed", "empty_file"),
        ("failed", "undecodable"),
        (None, None),
        ("failed", "no_media"),
        ("failed", "bad_span"),
        ("failed", "bad_span"),
    ]


def test_media_that_was_taken_away_after_the_fetch_is_no_clips_fault(tmp_path):
    with pytest.raises(FileNotFoundError, match="is gone"):
        cut([(str(tmp_path / "gone.mp4"), 0, 1000)])
