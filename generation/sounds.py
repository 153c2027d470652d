"""Made sounds on disk: NAME.wav, NAME.json with everything it was made of, NAME.png where a picture is wanted.

    rain-on-a-roof-90cb1d4e.wav     16-bit, mono, at the generator's rate
    rain-on-a-roof-90cb1d4e.json    prompt, settings, model with its hash, CLAP score of each candidate; written last

A sound is there when its JSON is, says that it was made as asked now, and names the wav's SHA-256.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from audio.codec import encode


def is_there(folder: Path, name: str, made_of: Mapping[str, Any], *, picture: bool = False) -> bool:
    """Whether this sound needs not be made again."""
    try:
        record = json.loads((folder / f"{name}.json").read_bytes())
        whole = hashlib.sha256((folder / f"{name}.wav").read_bytes()).hexdigest() == record["wav_sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    if picture and not (folder / f"{name}.png").is_file():
        return False
    return bool(whole and record.get("made_of") == json.loads(json.dumps(made_of)))


def write_sound(
    folder: Path,
    name: str,
    wave: np.ndarray,
    sample_rate_hz: int,
    made_of: Mapping[str, Any],
    told: Mapping[str, Any],
    picture: bytes | None = None,
) -> None:
    """Each file under another name first, the JSON last."""
    sound = encode(wave, sample_rate_hz, "wav")
    # What says that an older sound is whole goes first: between two renames it would say so of another's wav.
    (folder / f"{name}.json").unlink(missing_ok=True)
    _put(folder / f"{name}.wav", sound)
    if picture is not None:
        _put(folder / f"{name}.png", picture)
    record = {
        **told,
        "sample_rate_hz": sample_rate_hz,
        "samples": len(wave),
        "made_of": made_of,
        "wav_sha256": hashlib.sha256(sound).hexdigest(),
    }
    _put(folder / f"{name}.json", (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode())


def _put(path: Path, data: bytes) -> None:
    making = path.with_name(f".{path.name}.tmp")
    try:
        with making.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        making.replace(path)
    except OSError:
        making.unlink(missing_ok=True)
        raise
