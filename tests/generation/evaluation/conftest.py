"""Real sounds for the metrics."""

from pathlib import Path

import pytest

from audio.decode import AudioSource

FILES = Path(__file__).parents[3] / "examples" / "demo" / "media" / "files"


@pytest.fixture(scope="session")
def recordings():
    """Twelve clips of 3 s, 16 kHz, of the demo's recordings: name -> wave."""
    clips = {}
    for name in ("barnyard_13.flac", "brookside10.wav", "campfire_11.ogg", "seashore_12.mp3"):
        with AudioSource(FILES / name) as source:
            for k in range(3):
                clips[f"{name.partition('.')[0]}_{k}"] = source.segment(3000 * k, 3000 * k + 3000, 16_000)
    return clips
