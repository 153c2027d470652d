"""The loop: batches to steps, with everything that a resumed training needs to go on as if it had never stopped.

    training = Training(lesson, data, Plan("rain", 20, loop, keep), out, crew("auto"))
    trained = training.run(should_stop)

What a step draws follows from the seed, the step and the rank; what it reads follows from the place in the data. So
weights, optimisers' state, step and place are the whole state.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from scorer.weights import CARD_FILE, MODEL_FILE, sha256_of
from training import state
from training.ahead import Ahead
from training.checkpoint import put_folder, save, sweep
from training.crew import Crew
from training.ema import Ema
from training.errors import TrainError
from training.folder import CHECKPOINTS, LOOP_FILE, MODEL, Trained
from training.learner import Learned, Learner
from training.lesson import Batch, Data, Lesson, Place, Ready
from training.log import StepFacts, TrainLog
from training.mfu import peak_flops
from training.pace import Pace
from training.parallel import prepare, put_together
from training.settings import KeepSettings, LoopSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """What the loop needs of a recipe."""

    name: str
    seed: int
    loop: LoopSettings
    keep: KeepSettings


@dataclass(frozen=True)
class Drawn:
    """What one worker learns from in a step."""

    parts: tuple[Ready[Any], ...]
    clips: int
    place: Place  # after it
    skipped: Counter[str]


class Training:
    """One worker's part of a training, from the checkpoint `resumed` or from the lesson's own weights."""

    def __init__(
        self,
        lesson: Lesson[Any, Any],
        data: Data[Any],
        plan: Plan,
        out: Path,
        crew: Crew,
        resumed: Path | None = None,
    ) -> None:
        self.data, self.plan, self.out, self.crew = data, plan, out, crew
        self.lesson = lesson.to(crew.device)
        self.net = lesson.net
        self.step, self.place = 0, None
        self._bad_steps = [0] * len(lesson.turns)
        self.step_clips = data.batch_clips * plan.loop.accumulate * crew.world
        if resumed is not None:
            self._read_loop(resumed)
            state.load_net(resumed, self.net, lesson.published)
        prepare(lesson, plan.loop, crew)
        self.learners = [
            Learner(lesson, turn, plan.loop, crew, bad) for turn, bad in zip(lesson.turns, self._bad_steps, strict=True)
        ]
        learning = _learning(self.learners)
        averaged = {name: p for name, p in learning.items() if lesson.published(name) is not None}
        decay = plan.loop.ema_decay
        self.ema = None if decay is None else Ema(averaged, decay)
        if resumed is not None:
            state.load_optimizers(resumed, self.learners)
            if self.ema is not None:
                state.load_ema(resumed, self.ema, lesson.published)
        if crew.leads:
            million = sum(p.numel() for p in learning.values()) / 1e6
            log.info(
                "%.2f M parameters learn; %d clips, %d steps of %d clips on %d x %s, from step %d",
                million, data.clips, plan.loop.steps, self.step_clips, crew.world, crew.device, self.step,
            )  # fmt: skip

    def run(self, should_stop: Callable[[], bool] = lambda: False) -> Trained:
        """Train to the end, then write OUT/model; or until any worker's `should_stop`, which leaves a checkpoint."""
        told = self._log() if self.crew.leads else None
        batches = self.data.batches(self.place, rank=self.crew.rank, world=self.crew.world)
        try:
            with Ahead(lambda: self._draw(batches), self.plan.loop.steps - self.step) as ahead:
                finished = self._run(ahead, told, should_stop)
        finally:
            if told is not None:
                told.close()
        if finished:
            self._write_model()
        return Trained(finished, self.step, self.plan.loop.steps, self.out)

    def _run(self, ahead: Ahead[Drawn], told: TrainLog | None, should_stop: Callable[[], bool]) -> bool:
        keep, steps = self.plan.keep, self.plan.loop.steps
        while self.step < steps:
            began = time.monotonic()
            drawn, waited_s = ahead.next()
            facts = self._one_step(drawn, told)
            if told is not None:
                told.step(facts, time.monotonic() - began, waited_s)
            for learner in self.learners:
                learner.check(self.step)
            last, stop = self.step == steps, self.crew.summed(float(should_stop()))[0] > 0
            if not stop and (self.step % keep.validate_every_steps == 0 or last):
                self._validate(told)
            if self.step % keep.every_steps == 0 or last or stop:
                self.save()
            if stop and not last:
                return False
        return True

    def _log(self) -> TrainLog:
        keep, peak = self.plan.keep, peak_flops(self.crew.device)
        pace = Pace(self.lesson.flops_per_clip, None if peak is None else peak * self.crew.world)
        return TrainLog(
            self.out, first_step=self.step, steps=self.plan.loop.steps, every=keep.log_every_steps,
            tensorboard=keep.tensorboard, pace=pace, name=self.plan.name,
        )  # fmt: skip

    # -- one step

    def _draw(self, batches: Iterator[Batch[Any]]) -> Drawn:
        """In a thread."""
        drawn = [next(batches) for _ in range(self.plan.loop.accumulate)]
        parts = tuple(self.lesson.ready(batch.clips, self.crew.device) for batch in drawn)
        skipped: Counter[str] = Counter()
        for batch in drawn:
            skipped.update(batch.skipped)
        return Drawn(parts, sum(batch.count for batch in drawn), drawn[-1].place, skipped)

    def _one_step(self, drawn: Drawn, told: TrainLog | None) -> StepFacts:
        torch.manual_seed(self._seed())
        if self.step == 0:
            self.lesson.begin(drawn.parts[0].inputs, self.crew)
        self.lesson.train()
        weight, clips = self.crew.summed(sum(part.weight for part in drawn.parts), drawn.clips)
        learned = {one.turn.name: one.learn(drawn.parts, weight, self.step) for one in self.learners}
        if self.ema is not None and all(one.finite for one in learned.values()):
            self.ema.update(self.step)
        self.step, self.place = self.step + 1, drawn.place
        if told is not None:
            for name, one in learned.items():
                if not one.finite:
                    told.note(self.step, f"{name} left out: its gradient is not finite", 1)
            told.skipped(self.step, drawn.skipped)
        epoch = self.step * self.step_clips / max(1, self.data.clips)
        return StepFacts(self.step, round(epoch, 4), int(clips), _numbers(learned))

    def _seed(self) -> int:
        return int(np.random.SeedSequence([self.plan.seed, self.step, self.crew.rank]).generate_state(1)[0])

    @torch.no_grad()
    def _validate(self, told: TrainLog | None) -> None:
        self.lesson.eval()
        torch.manual_seed(self._seed())
        bf16 = self.plan.loop.precision == "bfloat16"
        with (
            nullcontext() if self.ema is None else self.ema.in_place(),
            put_together(self.net),
            torch.autocast(self.crew.device.type, torch.bfloat16, enabled=bf16),
        ):
            seen = self.lesson.validate(self.step, self.crew)
        if seen is not None and told is not None:
            told.validation(self.step, seen)

    # -- state

    def save(self) -> None:
        """A checkpoint of this step. Every worker calls, the first one writes; TrainError on all when it cannot."""
        leads, published = self.crew.leads, self.lesson.published
        model = state.model_state(self.net, self.ema, published, leads)
        rest = state.net_state(self.net, self.ema, published, leads)
        optimizer = state.optimizer_state(self.learners, leads)
        places = self.crew.gathered(self.place)
        bad_steps = [learner.bad_steps for learner in self.learners]
        loop = {"step": self.step, "step_clips": self.step_clips, "places": places, "bad_steps": bad_steps}

        def write(folder: Path) -> None:
            self._write_model_files(folder, model)
            _save(rest, folder / state.NET_FILE)
            _save(optimizer, folder / state.OPTIMIZER_FILE)
            (folder / LOOP_FILE).write_text(json.dumps(loop, indent=2) + "\n")

        folder = self.out / CHECKPOINTS
        self._written(folder, lambda: save(folder, self.step, write, keep=self.plan.keep.last))

    def _write_model(self) -> None:
        model = state.model_state(self.net, self.ema, self.lesson.published, self.crew.leads)
        folder = self.out / MODEL
        self._written(self.out, lambda: put_folder(folder, lambda making: self._write_model_files(making, model)))
        if self.crew.leads:
            log.info("the model is in %s", folder)

    def _written(self, folder: Path, write: Callable[[], object]) -> None:
        """The first worker writes; all wait, and all hear if it could not."""
        fault = ""
        if self.crew.leads:
            try:
                write()
            except (OSError, SafetensorError) as error:
                sweep(folder)
                fault = f"step {self.step} could not be written to {folder}: {error}"
        fault = self.crew.gathered(fault)[0]
        if fault:
            raise TrainError(f"{fault}; what was there is whole: make room and go on with --resume")

    def _write_model_files(self, folder: Path, model: state.State) -> None:
        _save(model, folder / MODEL_FILE)
        card = {**self.lesson.card(self.step), "weights_sha256": sha256_of(folder / MODEL_FILE)}
        (folder / CARD_FILE).write_text(json.dumps(card, indent=2) + "\n")
        self.lesson.write_beside(folder)

    def _read_loop(self, folder: Path) -> None:
        loop = json.loads((folder / LOOP_FILE).read_text())
        if loop["step_clips"] != self.step_clips:
            raise TrainError(
                f"{folder}: its steps are of {loop['step_clips']} clips, now of {self.step_clips}; change batch_clips "
                "or accumulate so that with the workers there are as many"
            )
        self.step, self._bad_steps = int(loop["step"]), loop["bad_steps"]
        places = loop["places"]
        if len(places) == self.crew.world:
            self.place = places[self.crew.rank]
        else:
            log.warning(
                "the run had %d workers, now %d: the order of the data begins anew", len(places), self.crew.world
            )


def _save(tensors: state.State, path: Path) -> None:
    save_file(tensors, path)
    path.chmod(0o644)  # safetensors writes for the owner only


def _learning(learners: Sequence[Learner]) -> dict[str, torch.nn.Parameter]:
    out: dict[str, torch.nn.Parameter] = {}
    for learner in learners:
        twice = sorted(out.keys() & learner.parameters.keys())
        if twice:
            raise TrainError(f"{learner.turn.name}: {twice[0]} learns in another turn already")
        out |= learner.parameters
    return out


def _numbers(learned: dict[str, Learned]) -> dict[str, float]:
    """Under their own names; with several turns, under the turn's."""
    return {
        name if len(learned) == 1 else f"{turn}/{name}": value
        for turn, one in learned.items()
        for name, value in one.numbers.items()
    }
