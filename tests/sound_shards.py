"""Shards of short sounds for the data of generators: keys and captions tell which clip is which."""

import io
import json
import tarfile

import numpy as np

from audio.codec import encode

RATE_HZ = 16_000


def tone(hertz, seconds=0.5, rate=RATE_HZ, level=0.3):
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def record(text, seconds=0.5, score=0.5, **more):
    return {"text": text, "duration_s": seconds, "clap_score": score, **more}


def members(key, text="a tone", wave=None, rate=RATE_HZ, codec="flac", **more):
    wave = tone(440.0, rate=rate) if wave is None else wave
    told = record(text, seconds=wave.size / rate, **more)
    return [(f"{key}.{codec}", encode(wave, rate, codec)), (f"{key}.json", json.dumps(told).encode())]


def write_tar(path, clips):
    """`clips`: lists of (name, bytes)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in (member for clip in clips for member in clip):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def write_corpus(folder, prefix="c", shards=3, each=8, **more):
    """Keys `<prefix>000`, `<prefix>001`, ... in `shards` tars of `each`, with captions that name them."""
    for shard in range(shards):
        numbers = range(shard * each, shard * each + each)
        clips = [members(f"{prefix}{n:03d}", f"clip {prefix}{n:03d}", tone(200.0 + 10 * n), **more) for n in numbers]
        write_tar(folder / f"{shard:05d}.tar", clips)
    return folder
