"""The loop: batches to steps, with everything that a resumed training needs to go on as if it had never stopped.

What a step draws (dropout, stripes, paths) follows from the seed, the step and the rank; what it reads follows from the
place in the data (train_data.py). So weights, optimiser state, step and place are the whole state.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from captioner.autocap.freeze import freeze, training_mode
from captioner.autocap.train_clap import ClapTokens
from captioner.autocap.train_data import Batch, Place, batches, start_of
from captioner.autocap.train_lesson import Lesson, Prepared
from captioner.autocap.train_log import StepFacts, TrainLog
from captioner.autocap.train_measure import Measurer
from captioner.autocap.train_optim import load_optimizer_state, make_optimizer, optimizer_state, rate, set_rate
from captioner.autocap.train_recipe import TrainRecipe
from captioner.autocap.train_weights import write_model
from training.checkpoint import save
from training.crew import Crew
from training.ema import Ema
from training.errors import TrainError
from training.shards import Shards

log = logging.getLogger(__name__)

CHECKPOINTS = "checkpoints"
OPTIMIZER_FILE, EMA_FILE, LOOP_FILE = "optimizer.safetensors", "ema.safetensors", "loop.json"
#: A step whose gradient is not finite is left out; so many in a row are a fault.
MAX_BAD_STEPS = 10

#: The passes of a step: as they were read, and as they are learned from.
Drawn = list[tuple[Batch, Prepared]]


class Training:
    """One worker's part of a training. `clap`: None for a net without CLAP token."""

    def __init__(
        self, lesson: Lesson, recipe: TrainRecipe, shards: Shards, out: Path, crew: Crew, clap: ClapTokens | None
    ) -> None:
        self.lesson, self.recipe, self.shards, self.out, self.crew, self.clap = lesson, recipe, shards, out, crew, clap
        self.net = lesson.net
        learns, rests = freeze(self.net, recipe.freeze)
        log.info("%.2f M parameters learn, %.2f M are frozen", learns / 1e6, rests / 1e6)
        self.optimizer = make_optimizer(self.net, recipe.optimizer)
        decay = recipe.optimizer.ema_decay
        learning = {name: p for name, p in self.net.named_parameters() if p.requires_grad}
        self.ema = Ema(learning, decay) if decay is not None else None
        self.step, self.place = 0, start_of(recipe)
        o = recipe.optimizer
        self.step_clips = o.batch_clips * o.accumulate * crew.world
        self.steps_per_epoch = max(1, shards.clips // self.step_clips)
        self.steps = max(1, round(o.epochs * self.steps_per_epoch))
        self._bad_steps = 0

    def run(self, measurer: Measurer | None, should_stop: Callable[[], bool]) -> bool:
        """Train to the end, or until `should_stop`, which leaves a checkpoint; True if the end was reached."""
        joined = self._joined()
        told = self._log()
        loader = self._loader()
        # The next step's clips are read, tokenised and moved while this one is computed.
        with ThreadPoolExecutor(1) as ahead:
            try:
                return self._run(joined, told, measurer, should_stop, lambda: ahead.submit(self._draw, loader))
            finally:
                if told is not None:
                    told.close()

    def _run(
        self,
        joined: nn.Module,
        told: TrainLog | None,
        measurer: Measurer | None,
        should_stop: Callable[[], bool],
        draw: Callable[[], Future[Drawn]],
    ) -> bool:
        keep = self.recipe.keep
        coming = draw() if self.step < self.steps else None
        while coming is not None:
            began = time.monotonic()
            drawn = coming.result()
            waited_s = time.monotonic() - began
            coming = draw() if self.step + 1 < self.steps else None
            self._one_step(joined, drawn, told, waited_s)
            last, stop = self.step == self.steps, self._anybody(should_stop())
            due = self.step % self.recipe.validation.every_steps == 0 or last
            if measurer is not None and due and not stop:
                self._measure(measurer, told)
            if self.step % keep.every_steps == 0 or last or stop:
                self.save()
            if stop and not last:
                return False
        return True

    def _joined(self) -> nn.Module:
        return self.crew.joined(self.lesson, buffers=self.recipe.freeze.frozen_parts == "train")

    def _log(self) -> TrainLog | None:
        keep = self.recipe.keep
        if not self.crew.leads:
            return None
        return TrainLog(
            self.out, first_step=self.step, steps=self.steps, every=keep.log_every_steps, tensorboard=keep.tensorboard
        )

    def _loader(self) -> Iterator[Batch]:
        return batches(self.shards, self.recipe, self.place, rank=self.crew.rank, world=self.crew.world)

    def _anybody(self, asked: bool) -> bool:
        return self.crew.summed(float(asked))[0] > 0

    # -- one step

    def _draw(self, loader: Iterator[Batch]) -> Drawn:
        """What a step learns from; nothing random but what the loader has drawn."""
        drawn = [next(loader) for _ in range(self.recipe.optimizer.accumulate)]
        return [(batch, self._prepared(batch)) for batch in drawn]

    def _one_step(self, joined: nn.Module, drawn: Drawn, told: TrainLog | None, waited_s: float) -> None:
        o = self.recipe.optimizer
        parts = [part for _, part in drawn]
        for batch, _ in drawn:
            self.place = self.place.after(batch)
        clips = sum(len(batch.clips) for batch, _ in drawn)
        all_tokens, all_clips = self.crew.summed(sum(part.tokens for part in parts), clips)
        pace = rate(o, self.step, self.steps, self.steps_per_epoch)
        set_rate(self.optimizer, pace)
        torch.manual_seed(self._seed())
        self.lesson.train()
        training_mode(self.net, self.recipe.freeze)
        loss_sum = self._backward(joined, parts, all_tokens)
        norm = nn.utils.clip_grad_norm_([p for p in self.net.parameters() if p.requires_grad], o.clip_norm)
        finite = bool(torch.isfinite(norm))
        if finite:
            self.optimizer.step()
            if self.ema is not None:
                self.ema.update(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        loss = self.crew.summed(loss_sum)[0] / all_tokens
        epoch = self.step / self.steps_per_epoch
        self._count_bad(finite, told)
        if told is not None:
            told.step(StepFacts(self.step, round(epoch, 4), loss, pace, float(norm), int(all_clips)), waited_s)
            for reason, count in _skipped(drawn).items():
                told.note(self.step, f"skipped {reason}", count)

    def _prepared(self, batch: Batch) -> Prepared:
        vectors = None if self.clap is None else self.clap(batch.clips)
        return self.lesson.prepare(batch.clips, vectors, self.crew.device)

    def _seed(self) -> int:
        return int(np.random.SeedSequence([self.recipe.seed, self.step, self.crew.rank]).generate_state(1)[0])

    def _backward(self, joined: nn.Module, parts: list[Prepared], all_tokens: float) -> float:
        """Gradients of the mean over all tokens of all workers' parts; the sum of this worker's losses."""
        total = 0.0
        for at, part in enumerate(parts):
            last = at == len(parts) - 1
            waiting = nullcontext() if last or self.crew.world == 1 else joined.no_sync()  # type: ignore[operator]
            with waiting:
                with self._precision():
                    loss_sum: torch.Tensor = joined(part)
                # Workers' gradients are averaged: times `world` they are summed.
                (loss_sum * (self.crew.world / all_tokens)).backward()  # type: ignore[no-untyped-call]
            total += float(loss_sum.detach())
        return total

    def _precision(self) -> AbstractContextManager[Any]:
        bf16 = self.recipe.optimizer.precision == "bfloat16"
        return torch.autocast(self.crew.device.type, torch.bfloat16, enabled=bf16)

    def _count_bad(self, finite: bool, told: TrainLog | None) -> None:
        """All workers see the same norm: all of them leave the step out, or stop."""
        self._bad_steps = 0 if finite else self._bad_steps + 1
        if not finite and told is not None:
            told.note(self.step, "left out: the gradient is not finite", 1)
        if self._bad_steps == MAX_BAD_STEPS:
            raise TrainError(
                f"step {self.step}: the gradient of {MAX_BAD_STEPS} steps in a row was not finite; take a lower "
                "optimizer.peak_rate, or precision: float32"
            )

    # -- measuring

    def _measure(self, measurer: Measurer, told: TrainLog | None) -> None:
        self.lesson.eval()
        averaged: AbstractContextManager[Any] = nullcontext() if self.ema is None else self.ema.in_place()
        with averaged, self._precision():
            self.net.eval()
            measured, samples = measurer(self.lesson)
        if told is not None:
            told.validation(self.step, measured, samples)

    # -- state

    def save(self) -> None:
        """A checkpoint of this step; every worker calls, the first one writes."""
        places = [asdict(place) for place in self.crew.gathered(self.place)]
        if self.crew.leads:

            def write(folder: Path) -> None:
                write_model(folder, self.net, self.lesson.tokenizer, self.card())
                save_file(optimizer_state(self.optimizer, self.net), folder / OPTIMIZER_FILE)
                if self.ema is not None:
                    save_file({n: v.cpu() for n, v in self.ema.values.items()}, folder / EMA_FILE)
                loop = {"step": self.step, "step_clips": self.step_clips, "places": places}
                (folder / LOOP_FILE).write_text(json.dumps(loop, indent=2) + "\n")

            save(self.out / CHECKPOINTS, self.step, write, keep=self.recipe.keep.last)
        self.crew.wait()

    def load(self, folder: Path) -> None:
        """Go on from a checkpoint, whose weights the net has already; TrainError if steps had another size."""
        loop = json.loads((folder / LOOP_FILE).read_text())
        if loop["step_clips"] != self.step_clips:
            raise TrainError(
                f"{folder}: its steps are of {loop['step_clips']} clips, now of {self.step_clips}; change "
                "optimizer.batch_clips or accumulate so that with the workers there are as many"
            )
        load_optimizer_state(self.optimizer, self.net, load_file(folder / OPTIMIZER_FILE))
        if self.ema is not None:
            self.ema.load(load_file(folder / EMA_FILE))
        self.step = int(loop["step"])
        self.place = self._place(loop["places"])
        log.info("going on from %s: step %d of %d", folder, self.step, self.steps)

    def _place(self, places: list[dict[str, Any]]) -> Place:
        begin = start_of(self.recipe)
        found = [Place(tuple(place["cursors"]), int(place["next_reader"])) for place in places]
        if len(found) != self.crew.world or len(found[0].cursors) != len(begin.cursors):
            log.warning(
                "the run had %d workers of %d readers, now %d of %d: the order of the data begins anew",
                len(found), len(found[0].cursors), self.crew.world, len(begin.cursors),
            )  # fmt: skip
            return begin
        return found[self.crew.rank]

    def card(self) -> dict[str, Any]:
        """What the weights are, for card.json."""
        epochs = round(self.step / self.steps_per_epoch, 3)
        trained = {"recipe": self.recipe.name, "step": self.step, "epochs": epochs, "clips": self.shards.clips}
        return {
            "model_id": self.recipe.name,
            "repeats": self.net.repeats,
            "clap_model": None if self.clap is None else self.clap.model,
            "tag_spacing": self.recipe.text.tag_spacing,
            "metadata_keys": list(self.recipe.text.keys),
            "trained": trained,
        }


def _skipped(drawn: Drawn) -> dict[str, int]:
    counts: dict[str, int] = {}
    for batch, _ in drawn:
        for reason, count in batch.skipped.items():
            counts[reason] = counts.get(reason, 0) + count
    return counts
