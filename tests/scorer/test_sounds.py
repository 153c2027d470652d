import json
from pathlib import Path

import numpy as np
import soundfile

from scorer.sounds import MEASURE_PACKAGES, is_free, read_sounds

LABELS = Path(__file__).parents[2] / "tools" / "sounds" / "labels.jsonl"


def test_no_gpl_recording_is_trained_on():
    rows = [json.loads(line) for line in LABELS.read_text().splitlines()]
    free = [row for row in rows if is_free(row)]
    assert len(free) > 1000
    assert not any("GPL" in row["licence"] or row["package"] in MEASURE_PACKAGES for row in free)


def test_recordings_are_read_at_one_rate_and_peak_without_silent_ends(tmp_path):
    rows = []
    for name, licence, package in (("a", "CC0", "free"), ("b", "GPL-2+", "other"), ("c", "GPL-3", "gcompris-qt-data")):
        wave = np.zeros((44100, 2))
        wave[11025:33075] = 0.1
        soundfile.write(tmp_path / f"{name}.wav", wave, 44100)
        rows.append(
            {"file": f"{name}.wav", "package": package, "licence": licence, "label_text": name, "kind": "sfx"}
            | {"raw_name": name}
        )
    (tmp_path / "sounds.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (free,) = read_sounds(tmp_path)
    assert free.label == "a"
    assert abs(free.wave.size - 8000) < 100
    assert np.isclose(np.abs(free.wave).max(), 0.7)
    assert [s.label for s in read_sounds(tmp_path, only=MEASURE_PACKAGES)] == ["c"]
