"""AutoCap's training as the loop (training/loop.py) asks for it: one turn, the weight of a batch its tokens."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from captioner.autocap.checkpoint import KIND, TIED, UNUSED
from captioner.autocap.freeze import freeze, training_mode
from captioner.autocap.train_clap import ClapTokens
from captioner.autocap.train_data import Clip, Place, batches, start_of
from captioner.autocap.train_lesson import Lesson as CaptionLesson
from captioner.autocap.train_lesson import Prepared
from captioner.autocap.train_measure import Measurer
from captioner.autocap.train_recipe import TrainRecipe
from training import lesson as teaching
from training.crew import Crew
from training.loop import Plan
from training.settings import KeepSettings, LoopSettings, OptimizerSettings, ScheduleSettings
from training.shards import Shards

log = logging.getLogger(__name__)


class Clips:
    """The shards, batch by batch, from places that JSON holds."""

    def __init__(self, shards: Shards, recipe: TrainRecipe) -> None:
        self.shards, self.recipe = shards, recipe
        self.clips, self.batch_clips = shards.clips, recipe.optimizer.batch_clips

    def batches(self, place: Any, *, rank: int, world: int) -> Iterator[teaching.Batch[list[Clip]]]:
        at = self._place(place)
        for batch in batches(self.shards, self.recipe, at, rank=rank, world=world):
            at = at.after(batch)
            yield teaching.Batch(batch.clips, len(batch.clips), asdict(at), batch.skipped)

    def _place(self, told: dict[str, Any] | None) -> Place:
        begin = start_of(self.recipe)
        if told is None:
            return begin
        if len(told["cursors"]) != len(begin.cursors):
            log.warning(
                "the run had %d loader_workers, now %d: the order of the data begins anew",
                len(told["cursors"]), len(begin.cursors),
            )  # fmt: skip
            return begin
        return Place(tuple(told["cursors"]), int(told["next_reader"]))


class Course(teaching.Lesson[list[Clip], Prepared]):
    """`clap`: None for a net without CLAP token. `measurer`: None for no validation."""

    def __init__(
        self, lesson: CaptionLesson, recipe: TrainRecipe, clap: ClapTokens | None, measurer: Measurer | None, plan: Plan
    ) -> None:
        super().__init__()
        self.net, self.lesson, self.recipe, self.clap, self.measurer = lesson.net, lesson, recipe, clap, measurer
        freeze(self.net, recipe.freeze)
        self.turns = (turn_of(recipe, plan.loop.steps),)
        self._epochs = recipe.optimizer.epochs / plan.loop.steps  # of a step

    def ready(self, clips: list[Clip], device: torch.device) -> teaching.Ready[Prepared]:
        vectors: np.ndarray | None = None if self.clap is None else self.clap(clips)
        prepared = self.lesson.prepare(clips, vectors, device)
        return teaching.Ready(prepared, float(prepared.tokens))

    def loss(self, turn: str, inputs: Prepared, step: int) -> teaching.Loss:
        del turn, step
        return teaching.Loss(self.lesson(inputs))

    def train(self, mode: bool = True) -> Course:
        super().train(mode)
        if mode:
            training_mode(self.net, self.recipe.freeze)
        return self

    def validate(self, step: int, crew: Crew) -> teaching.Validation | None:
        del step, crew
        if self.measurer is None:
            return None
        measured, samples = self.measurer(self.lesson)
        return teaching.Validation(measured, texts=samples)

    def published(self, name: str) -> str | None:
        return None if name in TIED or UNUSED.fullmatch(name) else name

    def card(self, step: int) -> dict[str, Any]:
        recipe = self.recipe
        return {
            "kind": KIND,
            "model_id": recipe.name,
            "repeats": self.net.repeats,
            "clap_model": None if self.clap is None else self.clap.model,
            "tag_spacing": recipe.text.tag_spacing,
            "metadata_keys": list(recipe.text.keys),
            "trained": {"recipe": recipe.name, "step": step, "epochs": round(step * self._epochs, 3)},
        }

    def write_beside(self, folder: Path) -> None:
        self.lesson.tokenizer.save_pretrained(folder)


def plan_of(recipe: TrainRecipe, clips: int, world: int) -> Plan:
    """The recipe's epochs in steps."""
    o, keep = recipe.optimizer, recipe.keep
    loop = LoopSettings(
        steps=max(1, round(o.epochs * steps_per_epoch(recipe, clips, world))),
        accumulate=o.accumulate, precision=o.precision, ema_decay=o.ema_decay,
    )  # fmt: skip
    kept = KeepSettings(
        every_steps=keep.every_steps, last=keep.last, log_every_steps=keep.log_every_steps,
        validate_every_steps=recipe.validation.every_steps, tensorboard=keep.tensorboard,
    )  # fmt: skip
    return Plan(recipe.name, recipe.seed, loop, kept)


def steps_per_epoch(recipe: TrainRecipe, clips: int, world: int) -> int:
    return max(1, clips // (recipe.optimizer.batch_clips * recipe.optimizer.accumulate * world))


def turn_of(recipe: TrainRecipe, steps: int) -> teaching.Turn:
    """A line up to the peak for the first epochs, then half a cosine down to 0."""
    o = recipe.optimizer
    warm_up = min(round(o.warmup_epochs / o.epochs * steps), steps - 1)
    optimizer = OptimizerSettings(
        type=o.type, betas=o.betas, eps=o.eps, weight_decay=o.weight_decay, clip_norm=o.clip_norm
    )
    schedule = ScheduleSettings(peak_rate=o.peak_rate, warmup_steps=warm_up, warmup_from=1 / (warm_up + 1))
    return teaching.Turn("caption", optimizer, schedule)
