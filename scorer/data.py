"""Training data on disk: scenes rendered once by worker processes, with what the teacher says of each.

DIR/mel.npy, classes.npy, features.npy are memory maps, DIR/scenes.jsonl says what is heard; all in scene order.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from scorer.features import BANDS, FRAMES, LogMel
from scorer.scenes import SceneMaker
from scorer.sounds import read_sounds, read_wild
from scorer.teachers import CLASSES, PATCHES, YAMNET_DIM, Yamnet

log = logging.getLogger(__name__)
WILD_SHARE = 0.6
ARRAYS = {
    "mel": (FRAMES, BANDS),
    "classes": (PATCHES, CLASSES),
    "features": (PATCHES, YAMNET_DIM),
}


@dataclass(frozen=True)
class SceneSet:
    """What was rendered, as memory maps."""

    mel: np.ndarray  # (N, T, F) float16
    classes: np.ndarray  # (N, 20, 521) float16 probabilities
    features: np.ndarray  # (N, 20, 1024) float16
    labels: list[tuple[str, ...]]
    relations: list[str]
    names: list[tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Order:
    """Which scenes one worker renders."""

    sounds: Path
    teachers: Path
    out: Path
    first: int
    last: int
    seed: int
    wild_share: float


def render(sounds: Path, teachers: Path, out: Path, *, count: int, seed: int, workers: int = 1) -> SceneSet:
    """`count` scenes under `out`; what is there already is taken as it is."""
    if not (out / "scenes.jsonl").exists():
        out.mkdir(parents=True, exist_ok=True)
        for name, shape in ARRAYS.items():
            np.lib.format.open_memmap(out / f"{name}.npy", "w+", np.float16, (count, *shape)).flush()
        edges = [count * k // workers for k in range(workers + 1)]
        orders = [Order(sounds, teachers, out, a, b, seed, WILD_SHARE) for a, b in pairwise(edges)]
        if workers == 1:
            parts = [render_part(orders[0])]
        else:
            with multiprocessing.get_context("spawn").Pool(workers) as pool:
                parts = pool.map(render_part, orders)
        (out / "scenes.jsonl").write_text("\n".join(line for part in parts for line in part) + "\n")
    return open_set(out)


def render_part(order: Order) -> list[str]:
    torch.set_num_threads(1)
    sounds, wild = read_sounds(order.sounds), read_wild(order.sounds)
    maker = SceneMaker(sounds, wild=wild, seed=order.seed, wild_share=order.wild_share)
    yamnet = Yamnet(order.teachers, order.out / f"yamnet-{order.first}")
    arrays = {name: np.load(order.out / f"{name}.npy", mmap_mode="r+") for name in ARRAYS}
    log_mel, lines = LogMel(), []
    for number in range(order.first, order.last):
        scene = maker.scene(number)
        mel = log_mel(torch.from_numpy(scene.wave)[None])[0].numpy()
        arrays["mel"][number] = mel
        arrays["classes"][number], arrays["features"][number] = yamnet(mel)
        lines.append(json.dumps({"labels": scene.labels, "relation": scene.relation, "names": scene.names}))
    return lines


def open_set(folder: Path) -> SceneSet:
    rows = [json.loads(line) for line in (folder / "scenes.jsonl").read_text().splitlines()]
    maps = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS}
    return SceneSet(
        mel=maps["mel"],
        classes=maps["classes"],
        features=maps["features"],
        labels=[tuple(r["labels"]) for r in rows],
        relations=[r["relation"] for r in rows],
        names=[tuple(r["names"]) for r in rows],
    )
