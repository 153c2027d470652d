#!/usr/bin/env python3
"""A longer training of the tiny GenAU than the demo's, and whether it says more than noise and the mean clip do.

usage: python -m benchmarks.genau_tiny_run --sounds SOUNDS --work WORK [--steps 5000] [--scenes 1500] [--clips 150]
       [--guidance 3,7]

SOUNDS is what tools/sounds/get_sounds.py unpacked. Captioned scenes of ten seconds are mixed, encoded, learned from;
then captions of other scenes are made into sounds, and all sets are measured beside the true ones by `autorecap
genau evaluate`. What is there in WORK is taken as it is. Sounds stay in WORK.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import logging
import random
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
import yaml

from audio.codec import encode
from genau import train as genau_train
from genau.codec import load_codec
from genau.load import load_generator
from genau.mel import CLIP_SAMPLES, SAMPLE_RATE_HZ, levelled
from genau.recipe import FitRecipe
from generation.generator import Prompt, Settings
from generation.latent_numbers import gaussians, read_latent, stacked
from scorer.scenes import SceneMaker
from scorer.sentences import caption
from scorer.sounds import read_sounds

ROOT = Path(__file__).resolve().parents[1]
SHARD_CLIPS, BATCH = 250, 16
TRAIN_SEED, TEST_SEED, OTHER_SEED = 100, 101, 102
SAMPLER_STEPS = 25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sounds", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=1500)
    parser.add_argument("--clips", type=int, default=150)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--guidance", default="3,7", help="each makes all sounds once")
    parser.add_argument("--model", type=Path, help="measure this one (a checkpoint, say) and train none")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    work = args.work
    if not (work / "captions.csv").exists():
        render(args.sounds, work, args.scenes, args.clips)
    if not (work / "latents" / "manifest.json").exists():
        autorecap("genau", "encode", work / "train", "--out", work / "latents", "--workers", "0", "--device", "cpu")
    took_s = 0.0 if args.model else train(work, args.steps)
    made = {f"made-{guidance}": float(guidance) for guidance in args.guidance.split(",")}
    say(work, args.model or work / "run" / "model", made)
    rows = {name: evaluate(work, name) for name in ("other", "again", *made, "noise", "mean")}
    report(rows, args, took_s)


def render(sounds: Path, work: Path, scenes: int, clips: int) -> None:
    """Shards to train on; true sounds and their captions; as many other true ones."""
    recordings = read_sounds(sounds)
    maker, rng = SceneMaker(recordings, seed=TRAIN_SEED), random.Random(0)
    for first in range(0, scenes, SHARD_CLIPS):
        with tar_at(work / "train" / f"{first // SHARD_CLIPS:05d}.tar") as tar:
            for number in range(first, min(scenes, first + SHARD_CLIPS)):
                scene = maker.scene(number)
                told = {"text": caption(scene.labels, scene.relation, rng), "duration_s": 10.0}
                add(tar, f"{number:06d}.flac", encode(scene.wave, SAMPLE_RATE_HZ, "flac"))
                add(tar, f"{number:06d}.json", json.dumps(told).encode())
    rows = []
    for name, seed in (("true", TEST_SEED), ("other", OTHER_SEED)):
        maker = SceneMaker(recordings, seed=seed)
        for number in range(clips):
            scene = maker.scene(number)
            write_wave(work / name / f"{number:04d}.wav", scene.wave)
            if name == "true":
                rows.append((f"{number:04d}", caption(scene.labels, scene.relation, rng)))
    with (work / "captions.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "caption"), *rows])


def tar_at(path: Path) -> tarfile.TarFile:
    path.parent.mkdir(parents=True, exist_ok=True)
    return tarfile.open(path, "w")


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def write_wave(path: Path, wave: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, levelled(wave), SAMPLE_RATE_HZ)


def train(work: Path, steps: int) -> float:
    """Seconds that it took; the model is in WORK/run/model."""
    tree = yaml.safe_load((ROOT / "configs" / "genau_tiny.yaml").read_text())
    corpora = [{"shards": [str(work / "latents")], "split": "train"}]
    tree["data"] |= {"kind": "latents", "corpora": corpora, "shuffle_clips": 1000}
    tree["validation"] |= {"corpora": corpora, "max_clips": 100, "prompts": []}
    # A net this small is far off in what it says of nearly pure noise; of the velocity it need not be exact there.
    tree["diffusion"] |= {"prediction": "velocity"}
    tree["schedule"] |= {"peak_rate": 1.5e-3, "warmup_steps": 100}
    tree["loop"] |= {"steps": steps, "ema_decay": 0.995}
    tree["keep"] |= {"every_steps": 500, "validate_every_steps": 500, "log_every_steps": 50}
    recipe = FitRecipe.model_validate(tree | {"name": "genau_tiny_run", "batch_clips": BATCH})
    out, begun = work / "run", time.monotonic()
    if (out / "model").exists():
        return float((out / "took_s").read_text())
    genau_train.begin(recipe, out, resume=True)
    genau_train.train(recipe, out)
    (out / "took_s").write_text(f"{time.monotonic() - begun:.0f}")
    return time.monotonic() - begun


def captions(work: Path) -> list[tuple[str, str]]:
    with (work / "captions.csv").open(newline="") as file:
        return [(row["file"], row["caption"]) for row in csv.DictReader(file)]


def say(work: Path, model: Path, made: dict[str, float]) -> None:
    """made-G: the captions as sounds; again: true sounds through VAE and vocoder; noise; mean: the mean clip."""
    rows = captions(work)
    generator = load_generator(model, clips_at_once=20)
    for folder, guidance in made.items():
        settings = Settings(steps=SAMPLER_STEPS, guidance=guidance, solver="dpm")
        if not (work / folder).exists():
            waves = generator.generate([Prompt(text) for _, text in rows], settings)
            for (name, _), wave in zip(rows, waves, strict=True):
                write_wave(work / folder / f"{name}.wav", wave[: 10 * SAMPLE_RATE_HZ])
    codec, draw = load_codec("embedded"), np.random.default_rng(0)
    mean = codec.to_wave(mean_latent(work))[0].numpy()[: 10 * SAMPLE_RATE_HZ]
    for name, _ in rows:
        write_wave(work / "noise" / f"{name}.wav", draw.standard_normal(10 * SAMPLE_RATE_HZ).astype(np.float32))
        write_wave(work / "mean" / f"{name}.wav", mean)
        if not (work / "again" / f"{name}.wav").exists():
            true = soundfile.read(work / "true" / f"{name}.wav", dtype="float32")[0]
            heard = torch.from_numpy(np.pad(true, (0, CLIP_SAMPLES - true.size)))[None]
            wave = codec.to_wave(codec.encode(heard).mean)[0].numpy()
            write_wave(work / "again" / f"{name}.wav", wave[: true.size])


def mean_latent(work: Path) -> torch.Tensor:
    """(1, 16, 256), over all clips that were learned from."""
    total, count = np.zeros((16, 256)), 0
    for path in sorted((work / "latents" / "train").glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith(".latent.npy") and (file := tar.extractfile(member)) is not None:
                    total += gaussians(*stacked([read_latent(file.read())]))[0][0].double().numpy()
                    count += 1
    return torch.from_numpy((total / count).astype(np.float32))[None]


def evaluate(work: Path, name: str) -> dict[str, Any]:
    out = work / f"{name}.json"
    metrics = "fd,kad" if name == "other" else "fd,kad,clap"
    captioned = [] if name == "other" else ["--captions", work / "captions.csv"]
    if not out.exists():
        autorecap("genau", "evaluate", work / name, "--reference", work / "true", "--metrics", metrics,
                  "--resamples", "200", "--json", out, *captioned)  # fmt: skip
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def autorecap(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "pipeline.cli", *map(str, words)], cwd=ROOT, check=True)


def report(rows: dict[str, dict[str, Any]], args: argparse.Namespace, took_s: float) -> None:
    told = {
        "other": "other true scenes", "again": "the true ones through VAE and Griffin-Lim",
        "noise": "white noise", "mean": "the mean training clip",
    }  # fmt: skip
    trained = f"model {args.model}" if args.model else f"{args.steps} steps of {BATCH} clips in {took_s / 60:.0f} min"
    print(f"\n{args.scenes} scenes to learn from, {trained}, {len(captions(args.work))} captions\n")
    print("| sounds | FD | KAD | CLAP score |\n|---|---|---|---|")
    for name, found in rows.items():
        figures = {figure["metric"].lower(): figure for figure in found["figures"]}
        cells = (told_of(figures[key]) if key in figures else "" for key in ("fd", "kad", "clap"))
        what = told.get(name) or f"**generated**, guidance {name[5:]}, {SAMPLER_STEPS} steps of DPM-Solver++"
        print(f"| {what} | {' | '.join(cells)} |")


def told_of(figure: dict[str, Any]) -> str:
    interval = "" if figure["low"] is None else f" [{figure['low']:.3f}, {figure['high']:.3f}]"
    return f"{figure['value']:.3f}{interval}"


if __name__ == "__main__":
    main()
