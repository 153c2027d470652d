"""Clips a second out of shards, for each codec of `export`, mixed or not, and of latents, beside what steps eat.

    python -m benchmarks.genau_loader --workers 0 1 2

Shards are made here: clips of 10 s of noise and tones at 48 kHz (as the corpus keeps them), latents of the published
models' sizes (64 x 256, text of 1,536), in bytes and in float16, read up to the float32 that a step takes. `CPU ms` is
what a clip costs a core: on a machine that does other things as well, it says more than the rate.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from audio.codec import encode
from genau.mel import CLIP_SAMPLES, SAMPLE_RATE_HZ, levelled
from generation.data import Feed, find_corpora
from generation.data_recipe import Data
from generation.data_waves import Waves
from generation.latent_numbers import Numbers, half_file, latent_file
from generation.latents import LATENT, TEXT, Latents

RATE_HZ = 48_000
CLIPS, SHARDS = 64, 8
CHANNELS, STEPS, WIDTH = 64, 256, 1536
BATCH = 32
LATENTS: dict[str, Numbers] = {"latents": "bytes", "float16 latents": "float16"}


def members(kind: str, key: str, chance: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    told: dict[str, Any] = {"text": ["a tone in noise", "noise around a tone"], "duration_s": 10.0, "clap_score": 0.5}
    if kind in LATENTS:
        mean, spread = chance.standard_normal((2, CHANNELS, STEPS))
        yield f"{key}.{LATENT}", latent_file(np.stack([mean, np.exp(spread - 2)]), LATENTS[kind])
        yield f"{key}.{TEXT}", half_file(chance.standard_normal((2, WIDTH)))
    else:
        t = np.arange(10 * RATE_HZ) / RATE_HZ
        wave = 0.3 * np.sin(2 * np.pi * chance.uniform(100, 4000) * t) + 0.03 * chance.standard_normal(t.size)
        yield f"{key}.{kind}", encode(wave.astype(np.float32), RATE_HZ, kind)
    yield f"{key}.json", json.dumps(told).encode()


def write_shards(folder: Path, kind: str) -> None:
    folder.mkdir(parents=True)
    chance = np.random.default_rng(0)
    sizes = {}
    for shard in range(SHARDS):
        with tarfile.open(folder / f"{shard:05d}.tar", "w") as tar:
            for number in range(CLIPS // SHARDS):
                for name, data in members(kind, f"{shard:05d}{number:04d}", chance):
                    info = tarfile.TarInfo(name)
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
        sizes[f"{shard:05d}.tar"] = CLIPS // SHARDS
    (folder / "sizes.json").write_text(json.dumps(sizes))


def measure(folder: Path, kind: str, mix: float, workers: int, seconds: float) -> tuple[float, float | None]:
    """(clips/s, CPU seconds of a clip: known only without loader processes)."""
    recipe = Data.model_validate(
        {
            "kind": "latents" if kind in LATENTS else "waves",
            "corpora": [{"shards": str(folder / kind)}],
            "mix": {"share": mix},
            "loader_workers": workers,
            "shuffle_clips": CLIPS // 4,
        }
    )
    waves = Waves(SAMPLE_RATE_HZ, CLIP_SAMPLES, levelled, recipe.filters, recipe.mix)
    of_kind: Any = Latents(CHANNELS, STEPS, WIDTH) if kind in LATENTS else waves
    feed = Feed(find_corpora(recipe), recipe, of_kind, batch_clips=BATCH, seed=0)
    batches: Any = feed.batches(None, rank=0, world=1)
    for _ in range(5 * max(workers, 1)):  # what was made ahead while the processes started
        next(batches)
    began, spent, clips = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - began < seconds:
        batch = next(batches)
        clips += batch.count
        if kind in LATENTS:
            batch.clips.gaussians(torch.device("cpu"))
    rate = clips / (time.perf_counter() - began)
    batches.close()
    return rate, (time.process_time() - spent) / clips if workers == 0 else None


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--seconds", type=float, default=10.0)
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        columns = "".join(f"{f'{workers} workers':>12}" for workers in asked.workers)
        print(f"{'shards':<16}{'kB/clip':>9}{columns}{'CPU ms/clip':>13}   (clips/s; {os.cpu_count()} cores)")
        for kind, mix in (
            ("flac", 0.0),
            ("flac", 0.5),
            ("wav", 0.0),
            ("opus", 0.0),
            *((name, 0.0) for name in LATENTS),
        ):
            if not (folder / kind).exists():
                write_shards(folder / kind, kind)
            size = sum(file.stat().st_size for file in (folder / kind).glob("*.tar")) / CLIPS / 1000
            found = [measure(folder, kind, mix, workers, asked.seconds) for workers in asked.workers]
            rates = "".join(f"{rate:>12.0f}" for rate, _ in found)
            cpu = "".join(f"{1000 * spent:>13.2f}" for _, spent in found if spent is not None)
            name = f"{kind}, mixed" if mix else kind
            print(f"{name:<16}{size:>9.0f}{rates}{cpu}", flush=True)


if __name__ == "__main__":
    main()
