"""Shards of short tones with captions, as `export` writes them."""

import io

import numpy as np

from audio.codec import encode
from corpus.formats import Sample
from corpus.formats.webdataset import WebDatasetFormat

RATE_HZ = 32_000
KINDS = {"a dog barks": 220.0, "water runs": 700.0, "a bell rings": 2000.0}


def tone(hertz, seconds=1.0, seed=0):
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    noise = np.random.default_rng(seed).standard_normal(t.size)
    return (0.3 * np.sin(2 * np.pi * hertz * t) + 0.01 * noise).astype(np.float32)


def sample(key, caption, wave, codec="flac", **extra):
    row = {
        "caption": caption, "clip_id": key, "source_id": "s", "clap_score": 0.5, "clap_model": "m@0",
        "title": f"t {key}", "caption_model": "", "license": "", "url": "",
    }  # fmt: skip
    return Sample(
        key=key, audio=encode(wave, RATE_HZ, codec), codec=codec, extension=codec, sample_rate_hz=RATE_HZ,
        num_samples=wave.size, start_s=0.0, end_s=wave.size / RATE_HZ, row=row, extra=extra,
    )  # fmt: skip


def write_shard(path, samples):
    path.parent.mkdir(parents=True, exist_ok=True)
    file = io.BytesIO()
    list(WebDatasetFormat().write_shard(file, samples))
    path.write_bytes(file.getvalue())


def small_shards(folder):
    """Three shards of eight clips, keys 0000 to 0023, into a folder."""
    kinds = list(KINDS.items())
    for shard in range(3):
        clips = []
        for number in range(8 * shard, 8 * shard + 8):
            caption, hertz = kinds[number % 3]
            clips.append(sample(f"{number:04d}", caption, tone(hertz, seed=number), video_caption="a yard"))
        write_shard(folder / f"{shard:05d}.tar", clips)
    return folder
