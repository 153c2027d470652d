"""Train the small captioner from nothing, on the shipped scorer's audio tower, one command:

    python tools/sounds/get_sounds.py SOUNDS
    python -m captioner.train --sounds SOUNDS --work WORK --out captioner/weights/embedded

Scenes are rendered and heard once by the frozen tower; then projections and BART learn their captions, with
invented titles that help, mislead or are missing. About 15 minutes on two cores with bf16 instructions.
"""

from __future__ import annotations

import argparse
import logging
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from captioner.data import HeardSet, render
from captioner.embedded import KIND, EmbeddedCaptioner
from captioner.load import Metadata
from captioner.measure import measure
from captioner.model import CAPTION_TOKENS, TEXT_TOKENS, SmallCaptioner
from captioner.prompt import EOS, SPECIAL, prompt
from captioner.titles import EMPTY_SIGHTS, EMPTY_TITLES, invent
from scorer.embedded import EmbeddedScorer
from scorer.features import SAMPLE_RATE_HZ
from scorer.load import WEIGHTS as SCORER_WEIGHTS
from scorer.optim import fit, set_up
from scorer.phrases import phrases
from scorer.sentences import caption
from scorer.sounds import MEASURE_PACKAGES, read_sounds
from scorer.tokens import encode, make_tokenizer
from scorer.weights import save_folder

log = logging.getLogger(__name__)
BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Recipe:
    sounds: Path
    work: Path
    seed: int = 0
    scenes: int = 14_000
    vocabulary: int = 1_000
    steps: int = 1_800


def train(recipe: Recipe, out: Path) -> dict[str, Any]:
    set_up(recipe.seed)
    scenes = render(recipe.sounds, recipe.work / "heard", count=recipe.scenes, seed=recipe.seed + 100, workers=2)
    tokenizer = make_tokenizer(texts(recipe), recipe.vocabulary, SPECIAL)
    net = SmallCaptioner(tokenizer.get_vocab_size())
    loss = teach(net, tokenizer, scenes, steps=recipe.steps, seed=recipe.seed)
    ears = EmbeddedScorer(SCORER_WEIGHTS)
    card: dict[str, Any] = {
        "kind": KIND,
        "model_id": "autorecap-captioner-small",
        "audio_tower_sha256": ears.weights_sha256,
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "trained": {"loss": round(loss, 3)} | {k: v for k, v in vars(recipe).items() if isinstance(v, int)},
    }
    save_folder(out, net, tokenizer, card)
    captioner = EmbeddedCaptioner(out, scorer=ears)
    measured = measure(captioner, read_sounds(recipe.sounds, only=MEASURE_PACKAGES), read_sounds(recipe.sounds))
    return save_folder(out, net, tokenizer, card | {"measured": measured})


def texts(recipe: Recipe) -> list[str]:
    """What the tokenizer is made from: captions that will be spoken, phrases and titles that will be read."""
    heard = sorted({s.label for s in read_sounds(recipe.sounds)})
    spoken = [caption((label,), "alone") for label in heard]
    return [*spoken * 10, *phrases(6_000, heard, [], recipe.seed), *EMPTY_TITLES, *EMPTY_SIGHTS]


def teach(net: SmallCaptioner, tokenizer: Any, scenes: HeardSet, *, steps: int, seed: int, batch: int = BATCH) -> float:
    """Mean loss of the last tenth of the steps."""
    draw, rng = np.random.default_rng(seed), random.Random(seed)
    captions = [caption(labels, relation) for labels, relation in zip(scenes.labels, scenes.relations, strict=True)]
    net.train()

    def loss_of_step(_: int) -> torch.Tensor:
        rows = np.sort(draw.integers(len(scenes), size=batch))
        told: list[Metadata] = [invent(scenes.labels[k], scenes.names[k], rng) for k in rows]
        tokens = torch.from_numpy(scenes.tokens[rows].astype(np.float32))
        clap = torch.from_numpy(scenes.clap[rows].astype(np.float32))
        tokens = mask_tokens(tokens, draw)
        return net.loss(
            tokens, clap, encode(tokenizer, [prompt(m) for m in told], TEXT_TOKENS), targets(tokenizer, captions, rows)
        )

    loss = fit("captioner", net.parameters(), loss_of_step, steps=steps, peak_rate=1e-3)
    net.eval()
    return loss


def mask_tokens(tokens_BKC: torch.Tensor, draw: np.random.Generator) -> torch.Tensor:
    """Two stretches of up to 1.6 s unheard, and a little noise, so that few recordings are not learned by heart."""
    out = tokens_BKC + 0.1 * tokens_BKC.std() * torch.from_numpy(
        draw.standard_normal(tokens_BKC.shape, dtype=np.float32)
    )
    for row in out:
        for _ in range(2):
            first = int(draw.integers(row.shape[0]))
            row[first : first + int(draw.integers(1, 11))] = 0.0
    return out


def targets(tokenizer: Any, captions: list[str], rows: np.ndarray) -> torch.Tensor:
    """The captions' ids, each ended by <eos>."""
    ids = encode(tokenizer, [captions[k] for k in rows], CAPTION_TOKENS - 1)
    ids = torch.nn.functional.pad(ids, (0, 1))
    ends = (ids != 0).sum(dim=1)
    ids[torch.arange(len(ids)), ends] = EOS
    return ids


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sounds", type=Path, required=True, help="what tools/sounds/get_sounds.py unpacked")
    parser.add_argument("--work", type=Path, required=True, help="scratch, 1 GB; rendered scenes are kept there")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    train(Recipe(sounds=args.sounds, work=args.work, seed=args.seed), args.out)


if __name__ == "__main__":
    main()
