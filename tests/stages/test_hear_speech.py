from pathlib import Path

import pyarrow as pa
import pytest

from stages.base import Services
from stages.hear_speech import HearSpeech

SOUNDS = Path(__file__).parent.parent / "data" / "sounds"


def run(audio, **options):
    table = pa.table({"clip_id": [str(k) for k in range(len(audio))], "audio": pa.array(audio, pa.large_binary())})
    stage = HearSpeech(**options)
    stage.open(Services(run_root=".", cache_dir=Path()))
    out = stage.run(table)
    stage.close()
    assert out.schema.field("speech_ratio").type == pa.float32()
    return out.to_pylist()


VOICE = (SOUNDS / "speech_woman.flac").read_bytes()
GLASS = (SOUNDS / "glass_rub.flac").read_bytes()


def test_it_hears_and_ends_nothing_by_default():
    voice, glass = run([VOICE, GLASS])
    assert voice["speech_ratio"] > 0.8
    assert glass["speech_ratio"] == 0
    assert (voice["outcome"], glass["outcome"]) == (None, None)


@pytest.mark.parametrize(("limit", "outcome"), [(0.3, "filtered"), (1.0, None)])
def test_speech_over_the_limit_ends_the_clip(limit, outcome):
    voice, glass = run([VOICE, GLASS], max_speech_ratio=limit)
    assert voice["outcome"] == outcome
    assert voice["reason"] == ("speech_heard" if outcome else None)
    assert glass["outcome"] is None


def test_bytes_that_are_no_audio_fail():
    (row,) = run([b"RIFF but no wave"])
    assert (row["outcome"], row["reason"], row["speech_ratio"]) == ("failed", "undecodable", None)
