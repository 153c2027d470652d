import json
from pathlib import Path

import numpy as np
import soundfile

from scorer.sounds import CARRY_PACKAGES, MEASURE_PACKAGES, WILD_SECONDS, is_free, read_sounds, read_wild

TOOLS = Path(__file__).parents[2] / "tools" / "sounds"
LABELS, WILD = TOOLS / "labels.jsonl", TOOLS / "wild.jsonl"


def test_no_gpl_recording_is_trained_on():
    rows = [json.loads(line) for line in LABELS.read_text().splitlines()]
    free = [row for row in rows if is_free(row)]
    assert len(free) > 1000
    assert not any("GPL" in row["licence"] or row["package"] in MEASURE_PACKAGES for row in free)


def test_no_gpl_recording_is_among_the_unlabelled():
    rows = [json.loads(line) for line in WILD.read_text().splitlines()]
    assert rows
    assert all(is_free(row) for row in rows)
    assert not {row["package"] for row in rows} & {*MEASURE_PACKAGES, *CARRY_PACKAGES}


def test_unlabelled_recordings_are_read_and_long_ones_in_part(tmp_path):
    soundfile.write(tmp_path / "song.wav", 0.1 * np.ones(50 * 8000), 8000)
    row = {"file": "song.wav", "package": "free", "path_in_package": "music/song.wav", "licence": "CC-BY-3.0"}
    gpl = row | {"licence": "GPL-2+"}
    (tmp_path / "wild.jsonl").write_text("\n".join(map(json.dumps, (row, gpl))))
    (sound,) = read_wild(tmp_path)
    assert (sound.label, sound.kind, sound.name) == ("", "wild", "music/song.wav")
    assert sound.wave.size == WILD_SECONDS * 16_000


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
