"""Training scenes for the captioner, rendered once by worker processes: what the frozen audio tower hears of each,
and what the teacher does.

Half of them hold one recording filled up to ten seconds as clips are at inference, half are mixed scenes; a third
hold recordings without a label, of which only the teacher's classes say what they are.
"""

from __future__ import annotations

import json
import multiprocessing
import random
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from captioner.model import AUDIO_TOKENS, SUMMARY, Listener, loudness
from scorer.embedded import EmbeddedScorer, parts_of
from scorer.features import LogMel
from scorer.load import WEIGHTS as SCORER_WEIGHTS
from scorer.model import CLASSES, DIM, TOKEN_DIM
from scorer.scenes import SAMPLES, Scene, SceneMaker, finish, vary_speed
from scorer.sounds import Sound, read_sounds, read_wild
from scorer.teachers import Yamnet

#: How often a scene is one labelled recording, one without a label, a mixed scene, a wild mixed scene.
SORTS = {"alone": 0.42, "wild alone": 0.18, "mixed": 0.25, "wild mixed": 0.15}
ARRAYS = {"tokens": (AUDIO_TOKENS, TOKEN_DIM), "summary": (SUMMARY,), "clap": (DIM,), "teacher": (CLASSES,)}


@dataclass(frozen=True)
class HeardSet:
    """Scenes as they are heard, as memory maps."""

    tokens: np.ndarray  # (N, A, 512) float16
    summary: np.ndarray  # (N, S) float16
    clap: np.ndarray  # (N, D) float16
    teacher: np.ndarray  # (N, 521) float16: the loudness of the teacher's classes
    labels: list[tuple[str, ...]]  # empty for a wild scene
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


class CaptionerScenes:
    """Scene `k` comes from the seed alone, whoever renders it."""

    def __init__(self, sounds: list[Sound], wild: list[Sound], seed: int) -> None:
        self._seed = seed
        self._mixed = SceneMaker(sounds, seed=seed)
        self._wild = SceneMaker(sounds, wild=wild, seed=seed + 1, wild_share=1.0)

    def scene(self, number: int) -> Scene:
        rng = random.Random(f"captioner/{self._seed}/{number}")
        shares = SORTS if self._wild.wild else {s: share for s, share in SORTS.items() if not s.startswith("wild")}
        (sort,) = rng.choices(list(shares), list(shares.values()))
        if sort == "mixed":
            scene = self._mixed.scene(number)
        elif sort == "wild mixed":
            scene = self._wild.scene(number)
        else:
            maker = self._wild if sort == "wild alone" else self._mixed
            scene = alone(maker.wild or maker.sounds, maker.wild_weights or maker.weights, rng)
        return replace(scene, wave=parts_of(scene.wave)[0])


def alone(sounds: list[Sound], weights: list[float], rng: random.Random) -> Scene:
    """One recording, or ten seconds from anywhere in it, at some speed, as short as it is."""
    (sound,) = rng.choices(sounds, weights)
    start = rng.randrange(max(1, sound.wave.size - SAMPLES + 1))
    wave = vary_speed(sound.wave[start : start + SAMPLES], rng.uniform(0.85, 1.18))[:SAMPLES]
    filled = parts_of(wave)[0]
    labels = (sound.label,) if sound.label else ()
    return Scene(finish(filled, rng), labels, "alone", (sound.name,) if labels else ())


def render(sounds: Path, teachers: Path, out: Path, *, count: int, seed: int, workers: int = 1) -> HeardSet:
    """`count` scenes under `out`; what is there already is taken as it is."""
    if not (out / "scenes.jsonl").exists():
        out.mkdir(parents=True, exist_ok=True)
        for name, shape in ARRAYS.items():
            np.lib.format.open_memmap(out / f"{name}.npy", "w+", np.float16, (count, *shape)).flush()
        edges = [count * k // workers for k in range(workers + 1)]
        orders = [Order(sounds, teachers, out, a, b, seed) for a, b in pairwise(edges)]
        if workers == 1:
            parts = [render_part(orders[0])]
        else:
            with multiprocessing.get_context("spawn").Pool(workers) as pool:
                parts = pool.map(render_part, orders)
        (out / "scenes.jsonl").write_text("\n".join(line for part in parts for line in part) + "\n")
    return open_heard(out)


def open_heard(out: Path) -> HeardSet:
    rows = [json.loads(line) for line in (out / "scenes.jsonl").read_text().splitlines()]
    maps = {name: np.load(out / f"{name}.npy", mmap_mode="r") for name in ARRAYS}
    return HeardSet(
        tokens=maps["tokens"],
        summary=maps["summary"],
        clap=maps["clap"],
        teacher=maps["teacher"],
        labels=[tuple(r["labels"]) for r in rows],
        relations=[r["relation"] for r in rows],
        names=[tuple(r["names"]) for r in rows],
    )


def render_part(order: Order) -> list[str]:
    torch.set_num_threads(1)
    maker = CaptionerScenes(read_sounds(order.sounds), read_wild(order.sounds), order.seed)
    scorer = EmbeddedScorer(SCORER_WEIGHTS)
    listener = Listener.of(scorer)
    yamnet = Yamnet(order.teachers, order.out / f"yamnet-{order.first}")
    arrays = {name: np.load(order.out / f"{name}.npy", mmap_mode="r+") for name in ARRAYS}
    log_mel, lines = LogMel(), []
    for number in range(order.first, order.last):
        scene = maker.scene(number)
        tokens, clap = scorer.hear_windows([scene.wave])
        with torch.inference_mode():
            heard = listener(torch.from_numpy(tokens))
            classes, _ = yamnet(log_mel(torch.from_numpy(scene.wave)[None])[0].numpy())
            arrays["teacher"][number] = loudness(torch.from_numpy(classes)[None].float())[0].numpy()
        arrays["tokens"][number] = heard.tokens[0].numpy()
        arrays["summary"][number] = heard.summary[0].numpy()
        arrays["clap"][number] = clap[0]
        lines.append(json.dumps({"labels": scene.labels, "relation": scene.relation, "names": scene.names}))
    return lines
