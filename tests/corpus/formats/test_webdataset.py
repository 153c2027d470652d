"""A sample's members: what stands in the JSON, where the audio lies, and that untrusted text stays text."""

from __future__ import annotations

import io
import json
import tarfile

import pytest

from corpus.formats import FORMATS, Sample, format_named
from corpus.formats.webdataset import record, record_json

ROW = {
    "clip_id": "q1_0_500",
    "source_id": "q1",
    "caption": 'rain "on"\n leaves ✓ \u2028 </script>',
    "caption_model": "m@1",
    "clap_score": 0.4000000059604645,
    "clap_model": "c@2",
    "title": "../../etc/passwd\x00\x1b[31m",
    "url": "https://example.org/1",
    "license": None,
}


def sample(codec="flac", key="q1_0_500", audio=b"abc" * 300, **row):
    return Sample(key, audio, codec, codec, 48_000, 24_000, 1.5, 2.0, {**ROW, **row}, {"speech_ratio": 0.5})


def test_every_format_named_is_there():
    assert all(format_named(name).shard_name("", 3).startswith("00003") for name in FORMATS)
    with pytest.raises(KeyError):
        format_named("zip")


def test_text_is_one_string_and_nothing_textual_is_null():
    made = record(sample())
    assert made["text"] == ROW["caption"]
    assert made["tag"] == []
    assert made["license"] == made["original_data"]["license"] == ""
    assert made["clap_score"] == 0.4
    assert (made["start_s"], made["end_s"], made["duration_s"]) == (1.5, 2.0, 0.5)
    assert made["original_data"]["title"] == ROW["title"]
    assert made["original_data"]["speech_ratio"] == 0.5
    assert json.loads(record_json(sample())) == made


def test_no_caption_and_no_score_keep_their_types():
    made = record(sample(caption=None, clap_score=float("nan"), clap_model=None, title=None, url=None))
    assert (made["text"], made["clap_score"], made["clap_model"], made["url"]) == ("", None, "", "")
    assert b"NaN" not in record_json(sample(clap_score=float("nan")))


@pytest.mark.parametrize("codec", ["flac", "wav", "opus", "mp3"])
def test_the_offset_is_that_of_the_audios_own_bytes(codec):
    samples = [sample(codec, f"q1_{at}", bytes([at]) * (at * 511)) for at in range(1, 5)]
    file = io.BytesIO()
    written = list(format_named("webdataset").write_shard(file, samples))
    data = file.getvalue()
    for one, place in written:
        assert data[place.offset : place.offset + place.size] == one.audio
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        names = tar.getnames()
    assert sorted(names) == sorted(f"q1_{at}.{ext}" for at in range(1, 5) for ext in (codec, "json"))


def test_the_same_samples_give_the_same_bytes():
    def made():
        file = io.BytesIO()
        list(format_named("webdataset").write_shard(file, [sample(), sample(key="q2")]))
        return file.getvalue()

    assert made() == made()


def test_sizes_are_by_shard_name():
    files = format_named("webdataset").split_files({"00001.tar": 2, "00000.tar": 3})
    assert json.loads(files["sizes.json"]) == {"00000.tar": 3, "00001.tar": 2}
