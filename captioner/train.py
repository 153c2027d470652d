"""Train the small captioner from nothing, on the shipped scorer's audio tower, one command:

    python tools/sounds/get_sounds.py SOUNDS
    python -m captioner.train --sounds SOUNDS --work WORK --out captioner/weights/embedded

Scenes are rendered and heard once by the frozen tower; then projections and BART learn their captions, with
invented titles that help, mislead or are missing, in two processes that share their gradients. About 15 minutes on
two cores with bf16 instructions.
"""

from __future__ import annotations

import argparse
import logging
import random
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from captioner.data import HeardSet, open_heard, render
from captioner.embedded import KIND, EmbeddedCaptioner
from captioner.load import Metadata
from captioner.measure import measure
from captioner.model import CAPTION_TOKENS, TEXT_TOKENS, SmallCaptioner
from captioner.prompt import EOS, SPECIAL, prompt
from captioner.titles import EMPTY_SIGHTS, EMPTY_TITLES, invent
from scorer.embedded import EmbeddedScorer
from scorer.features import SAMPLE_RATE_HZ
from scorer.load import WEIGHTS as SCORER_WEIGHTS
from scorer.optim import fit, join, set_up
from scorer.phrases import phrases
from scorer.sentences import caption
from scorer.sounds import CARRY_PACKAGES, MEASURE_PACKAGES, read_sounds
from scorer.tokens import encode, load_tokenizer, make_tokenizer
from scorer.weights import TOKENIZER_FILE, save_folder

log = logging.getLogger(__name__)
BATCH = 32  # per process
MEETING = "meet-to-teach"
HANDS = 2  # processes that train the captioner together


@dataclass(frozen=True, kw_only=True)
class Recipe:
    sounds: Path
    work: Path
    seed: int = 0
    scenes: int = 6_000
    vocabulary: int = 1_000
    steps: int = 1_000


def train(recipe: Recipe, out: Path) -> dict[str, Any]:
    set_up(recipe.seed)
    render(recipe.sounds, recipe.work / "heard", count=recipe.scenes, seed=recipe.seed + 100, workers=2)
    tokenizer = make_tokenizer(texts(recipe), recipe.vocabulary, SPECIAL)
    tokenizer.save(str(recipe.work / TOKENIZER_FILE))
    (recipe.work / MEETING).unlink(missing_ok=True)
    with ProcessPoolExecutor(HANDS, mp_context=get_context("spawn")) as pool:
        losses = [job.result() for job in [pool.submit(teach_job, recipe, rank) for rank in range(HANDS)]]
    net = SmallCaptioner(tokenizer.get_vocab_size())
    net.load_state_dict(torch.load(recipe.work / "captioner.pt", weights_only=True))
    ears = EmbeddedScorer(SCORER_WEIGHTS)
    card: dict[str, Any] = {
        "kind": KIND,
        "model_id": "autorecap-captioner-small",
        "audio_tower_sha256": ears.weights_sha256,
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "trained": {"loss": round(losses[0], 3)} | {k: v for k, v in vars(recipe).items() if isinstance(v, int)},
    }
    save_folder(out, net.eval(), tokenizer, card)
    captioner, trained = EmbeddedCaptioner(out, scorer=ears), read_sounds(recipe.sounds)
    measured = {
        "+".join(packages): measure(captioner, read_sounds(recipe.sounds, only=packages), trained)
        for packages in (MEASURE_PACKAGES, CARRY_PACKAGES)
    }
    return save_folder(out, net, tokenizer, card | {"measured": measured})


def teach_job(recipe: Recipe, rank: int) -> float:
    """One of HANDS processes that teach one captioner; the first leaves it in the work folder."""
    set_up(recipe.seed)
    tokenizer = load_tokenizer(recipe.work / TOKENIZER_FILE)
    net = SmallCaptioner(tokenizer.get_vocab_size())
    torch.manual_seed(recipe.seed + rank)  # what is dropped out differs
    join(recipe.work / MEETING, rank, HANDS)
    loss = teach(net, tokenizer, open_heard(recipe.work / "heard"), steps=recipe.steps, seed=recipe.seed + 1000 * rank)
    if rank == 0:
        torch.save(net.state_dict(), recipe.work / "captioner.pt")
    return loss


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
