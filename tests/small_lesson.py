"""Lessons that train in a second, and data for them: numbers that follow from their place alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

from training.crew import crew, joined_from_env
from training.folder import newest_for
from training.lesson import Batch, Lesson, Loss, Ready, Sound, Turn, Validation
from training.loop import Plan, Training
from training.settings import KeepSettings, LoopSettings, OptimizerSettings, ScheduleSettings

WIDTH = 8


class Numbers:
    """Clip n is a vector that is drawn from n; a place is how many a worker has had."""

    clips = 64

    def __init__(self, batch_clips=4):
        self.batch_clips = batch_clips

    def batches(self, place, *, rank, world):
        at = place or 0
        while True:
            first = at * world + rank * self.batch_clips
            rows = [np.random.default_rng(n).standard_normal(WIDTH) for n in range(first, first + self.batch_clips)]
            at += self.batch_clips
            skipped = {"too_short": 1} if at == 2 * self.batch_clips else {}
            yield Batch(np.array(rows, dtype=np.float32), self.batch_clips, at, skipped)


def turn(name="learn", learns=("*",), kind="adamw", rate=1e-2, clip_norm=1.0):
    optimizer = OptimizerSettings(type=kind, clip_norm=clip_norm)
    return Turn(name, optimizer, ScheduleSettings(peak_rate=rate, warmup_steps=2), learns)


class Layer(nn.Module):
    """A class of its own: torch.compile passes over a Sequential."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        return nn.functional.gelu(self.linear(x))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(Layer() for _ in range(2))
        self.head = nn.Linear(WIDTH, WIDTH)
        self.register_buffer("scale", torch.ones(()))

    def forward(self, x):
        for layer in self.layers:
            x = x + layer(x)
        return self.head(x * self.scale)


class SmallLesson(Lesson):
    """Learns to turn numbers round. `noise`: the step draws."""

    flops_per_clip = 1e6

    def __init__(self, *, noise=0.0, **turn_options):
        super().__init__()
        torch.manual_seed(0)
        self.net, self.noise, self.turns = Net(), noise, (turn(**turn_options),)

    def ready(self, clips, device):
        return Ready(torch.from_numpy(clips).to(device), float(len(clips)))

    def loss(self, turn, x, step):
        error = self.net(x + self.noise * torch.randn_like(x)) - x.flip(-1)
        each = error.float().square().mean(-1)
        return Loss(each.sum(), {"worst": each.detach().max() * len(x)})

    def begin(self, x, crew):
        self.net.scale.fill_(1.5)

    def blocks(self):
        return tuple(self.net.layers)

    def validate(self, step, crew):
        x = torch.from_numpy(next(Numbers(16).batches(1 << 20, rank=0, world=1)).clips).to(crew.device)
        for _ in range(1 + crew.rank):  # workers need not measure the same
            loss = float((self.net(x) - x.flip(-1)).square().mean())
        wave = np.sin(np.arange(1600) / 10).astype(np.float32)
        image = np.zeros((4, 6, 3), dtype=np.uint8)
        return Validation({"loss": loss}, {"a tone": Sound(wave, 16_000)}, {"a picture": image}, [("a | b", "c")])

    def card(self, step):
        return {"kind": "small", "step": step}


class TwoTurns(Lesson):
    """A generator and a discriminator that learns whether a vector is real; only the generator is published."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        judge = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU(), nn.Linear(WIDTH, 1))
        self.net = nn.ModuleDict({"maker": Net(), "judge": judge})
        self.turns = (turn("judge", ("judge.*",), "adam"), turn("maker", ("maker.*",), "lamb"))

    def ready(self, clips, device):
        return Ready(torch.from_numpy(clips).to(device), float(len(clips)))

    def loss(self, turn, x, step):
        made = self.net["maker"](torch.randn_like(x))
        if turn == "judge":
            real, false = self.net["judge"](x), self.net["judge"](made.detach())
            return Loss((nn.functional.relu(1 - real) + nn.functional.relu(1 + false)).sum())
        return Loss(-self.net["judge"](made).sum())

    def published(self, name):
        return name.removeprefix("maker.") if name.startswith("maker.") else None


def plan(steps=8, every=100, **changes):
    """`changes` of LoopSettings and KeepSettings."""
    keep = {"every_steps": every, "log_every_steps": 2, "tensorboard": False, "validate_every_steps": 1000, "last": 2}
    loop = {"steps": steps}
    for name, value in changes.items():
        (keep if name in KeepSettings.model_fields else loop)[name] = value
    return Plan("small", 7, LoopSettings(**loop), KeepSettings(**keep))


def train(lesson, out, plan_, batch_clips=4, should_stop=lambda: False, data=None):
    """From the last checkpoint, or from the start."""
    together = crew("cpu")
    out.mkdir(parents=True, exist_ok=True)
    training = Training(lesson, data or Numbers(batch_clips), plan_, out, together, newest_for(out, together))
    return training.run(should_stop)


def curve(out):
    lines = [json.loads(line) for line in (out / "losses.jsonl").read_text().splitlines()]
    return [line for line in lines if "clips" in line]


def stop_after(steps):
    asked = iter([False] * (steps - 1) + [True])
    return lambda: next(asked)


#: As one worker and two learn the same: four clips a step.
SAME = {"accumulate": 2, "ema_decay": 0.9, "validate_every_steps": 4}


def together(out):
    """One of two processes: DDP and FSDP, stopped in the middle and gone on with; a net and its judge."""
    out = Path(out)
    torch.set_num_threads(1)
    with joined_from_env():
        for parallel in ("ddp", "fsdp"):
            for kind in ("adamw", "lamb"):
                there = out / f"{parallel}-{kind}"
                train(SmallLesson(kind=kind), there, plan(8, parallel=parallel, **SAME), 1, stop_after(5))
                train(SmallLesson(kind=kind), there, plan(8, parallel=parallel, recompute=True, **SAME), 1)
        train(TwoTurns(), out / "turns", plan(6, accumulate=2), 2, stop_after(3))
        train(TwoTurns(), out / "turns", plan(6, accumulate=2), 2)
        train(TwoTurns(), out / "turns-whole", plan(6, accumulate=2), 2)
