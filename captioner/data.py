"""Training scenes for the captioner: what the frozen audio tower hears of each, rendered once by worker processes."""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from scorer.embedded import EmbeddedScorer
from scorer.load import WEIGHTS as SCORER_WEIGHTS
from scorer.model import DIM, TOKEN_DIM, TOKENS
from scorer.scenes import SceneMaker
from scorer.sounds import read_sounds

ARRAYS = {"tokens": (TOKENS, TOKEN_DIM), "clap": (DIM,)}


@dataclass(frozen=True)
class HeardSet:
    """Scenes as the audio tower hears them, as memory maps."""

    tokens: np.ndarray  # (N, K, 512) float16
    clap: np.ndarray  # (N, D) float16
    labels: list[tuple[str, ...]]
    relations: list[str]
    names: list[tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Order:
    sounds: Path
    out: Path
    first: int
    last: int
    seed: int


def render(sounds: Path, out: Path, *, count: int, seed: int, workers: int = 1) -> HeardSet:
    """`count` captioned scenes under `out`; what is there already is taken as it is."""
    if not (out / "scenes.jsonl").exists():
        out.mkdir(parents=True, exist_ok=True)
        for name, shape in ARRAYS.items():
            np.lib.format.open_memmap(out / f"{name}.npy", "w+", np.float16, (count, *shape)).flush()
        edges = [count * k // workers for k in range(workers + 1)]
        orders = [Order(sounds, out, a, b, seed) for a, b in pairwise(edges)]
        if workers == 1:
            parts = [render_part(orders[0])]
        else:
            with multiprocessing.get_context("spawn").Pool(workers) as pool:
                parts = pool.map(render_part, orders)
        (out / "scenes.jsonl").write_text("\n".join(line for part in parts for line in part) + "\n")
    return open_heard(out)


def open_heard(out: Path) -> HeardSet:
    rows = [json.loads(line) for line in (out / "scenes.jsonl").read_text().splitlines()]
    return HeardSet(
        tokens=np.load(out / "tokens.npy", mmap_mode="r"),
        clap=np.load(out / "clap.npy", mmap_mode="r"),
        labels=[tuple(r["labels"]) for r in rows],
        relations=[r["relation"] for r in rows],
        names=[tuple(r["names"]) for r in rows],
    )


def render_part(order: Order) -> list[str]:
    torch.set_num_threads(1)
    maker, ears = SceneMaker(read_sounds(order.sounds), seed=order.seed), EmbeddedScorer(SCORER_WEIGHTS)
    arrays = {name: np.load(order.out / f"{name}.npy", mmap_mode="r+") for name in ARRAYS}
    lines = []
    for number in range(order.first, order.last):
        scene = maker.scene(number)
        tokens, clap = ears.hear([scene.wave])
        arrays["tokens"][number], arrays["clap"][number] = tokens[0], clap[0]
        lines.append(json.dumps({"labels": scene.labels, "relation": scene.relation, "names": scene.names}))
    return lines
