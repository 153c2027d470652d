"""The folder of a training: claimed for one recipe, gone on with from its last whole checkpoint.

OUT/recipe.json      what is trained; another recipe is refused here
OUT/checkpoints/     step-00001000 ..., each whole or not there (checkpoint.py); each is a model folder, too
OUT/losses.jsonl     the curve; OUT/tensorboard the same to look at
OUT/model/           at the end
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from corpus.differences import differences
from corpus.store import Store
from training.checkpoint import newest, sweep
from training.crew import Crew
from training.errors import TrainError

RECIPE, CHECKPOINTS, MODEL = "recipe.json", "checkpoints", "model"
#: In a checkpoint: the step, and each worker's place in the data.
LOOP_FILE = "loop.json"


@dataclass(frozen=True)
class Trained:
    """How a training ended: `finished`, or stopped with a checkpoint to go on from."""

    finished: bool
    step: int
    steps: int
    out: Path


def claim(out: Path, decisive: Mapping[str, object], *, resume: bool) -> None:
    """Claim the folder for this recipe; TrainError when it holds another training, or one and `resume` is not asked.

    `decisive`: what makes the weights what they are. A training that came to no checkpoint (a wrong path, most likely)
    holds no folder.
    """
    record = out / RECIPE
    if record.exists() and any((out / CHECKPOINTS).glob("step-*")):
        lines = differences(json.loads(record.read_text()), dict(decisive))
        if lines:
            told = "\n  ".join([f"{out} holds another training:", *lines, "use another folder for this one"])
            raise TrainError(told)
        if not resume:
            raise TrainError(f"{out} holds this training already; --resume goes on with it")
    elif out.is_dir() and any(out.iterdir()) and not record.exists():
        raise TrainError(f"{out} is not empty and holds no training; use another folder")
    Store(out).replace(RECIPE, (json.dumps(decisive, indent=2) + "\n").encode())


def newest_for(out: Path, crew: Crew) -> Path | None:
    """The last whole checkpoint. One looks, the others take what it has found: all go on from the same."""
    if crew.leads:
        for folder in (out, out / CHECKPOINTS):
            sweep(folder)
    found: Path | None = crew.gathered(newest(out / CHECKPOINTS) if crew.leads else None)[0]
    return found
