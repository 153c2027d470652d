"""Shards of short tones with captions, as `export` writes them, and a training recipe for them."""

import io

import numpy as np
import pytest

from audio.codec import encode
from captioner.autocap.train_recipe import TrainRecipe
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


@pytest.fixture(scope="session")
def shards(tmp_path_factory):
    """Three shards of eight clips, keys 0000 to 0023."""
    folder = tmp_path_factory.mktemp("shards")
    kinds = list(KINDS.items())
    for shard in range(3):
        clips = []
        for number in range(8 * shard, 8 * shard + 8):
            caption, hertz = kinds[number % 3]
            clips.append(sample(f"{number:04d}", caption, tone(hertz, seed=number), video_caption="a yard"))
        write_shard(folder / f"{shard:05d}.tar", clips)
    return folder


@pytest.fixture
def recipe(shards):
    """recipe(**changes): sections are merged into a small run of a few steps on the CPU."""

    def make(**changes):
        tree = {
            "name": "trial",
            "start": {"small": {"tower_width": 8, "queries": 8, "query_width": 32, "width": 64, "layers": 1,
                                "vocabulary": 300}},
            "data": {"shards": [str(shards)], "loader_workers": 0, "shuffle_clips": 16},
            "clap": {"model": "embedded"},
            "optimizer": {"peak_rate": 2e-3, "epochs": 0.5, "warmup_epochs": 0.1, "batch_clips": 2},
            "keep": {"every_steps": 2, "log_every_steps": 2, "tensorboard": False},
            "execution": {"device": "cpu", "threads": 1},
        }  # fmt: skip
        for section, values in changes.items():
            tree[section] = {**tree.get(section, {}), **values} if isinstance(values, dict) else values
        return TrainRecipe.model_validate(tree)

    return make
