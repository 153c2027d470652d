"""Processes that kill -9 themselves in a save: before the first thing that it does to the disk, the second, each.

    python -m tests.killed_saves OUT

OUT/unbroken     a training
OUT/steps-00 ... the same, killed while it put its second checkpoint in place of its first (-00: in the middle of a
                 file; -01: before that, in a step without a checkpoint), then gone on with
OUT/new-00 ...   a folder that was killed while it was made
OUT/swap-00 ...  while it replaced another, by an exchange; OUT/move-00 ... where the disk has none
OUT/left.json    what there was right after each kill
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from functools import partial
from pathlib import Path

import torch

from tests.processes import in_child
from tests.small_lesson import SmallLesson, plan, train
from training import checkpoint
from training.crew import crew
from training.folder import newest_for

STEPS, EVERY = 6, 2
#: What Python tells of before it does it.
TOLD = {"open", "os.mkdir", "os.chmod", "os.rename", "shutil.rmtree"}


def kill_at(number, *names):
    """Kill this process before the `number`th thing that is done to folders of these names."""
    seen = iter(range(number))

    def look(event, args):
        ours = event in TOLD and not is_read(event, args)
        if ours and any(name in str(arg) for arg in args[:2] for name in names) and next(seen, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(look)


def is_read(event, args):
    return event == "open" and not (args[1] or "").startswith("w")


def cut_off(name, at_bytes):
    """Kill this process in the middle of the first file that grows so long in a folder of this name."""

    def look(event, args):
        if event == "os.mkdir" and name in str(args[0]):
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (at_bytes, at_bytes))

    sys.addaudithook(look)


def learn(out, kill=lambda: None):
    should_stop = kill() or (lambda: False)
    train(SmallLesson(noise=0.1), out, plan(STEPS, EVERY, last=1, ema_decay=0.9), should_stop=should_stop)


def after_step(step):
    """Not in a save at all."""
    steps = iter(range(1, step))

    def look():
        if next(steps, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return False

    return look


def put(target, how, kill=lambda: None):
    if how == "move":
        checkpoint.exchange = lambda *_: False  # as on a disk that has none
    kill()
    checkpoint.put_folder(target, lambda folder: (folder / "a.txt").write_text("new"))


def whole(folder):
    return sorted(path.name for path in folder.glob("step-*") if checkpoint.damage(path) is None)


def trainings(out):
    """Of step 4, which is made while step 2 is there, and replaces it."""
    made, gone = f".tmp-new-step-{2 * EVERY:08d}", f".tmp-gone-step-{EVERY:08d}"
    kills = [lambda: cut_off(made, 700), lambda: after_step(EVERY + 1)]
    kills += [partial(kill_at, number, made, gone) for number in range(100)]
    for number, kill in enumerate(kills):
        here = out / f"steps-{number:02d}"
        signalled = in_child(learn, here, kill)
        if not signalled:
            return
        yield here.name, [signalled, whole(here / "checkpoints")]
        assert in_child(learn, here) == 0


def folders(out, how):
    for number in range(100):
        target = out / f"{how}-{number:02d}" / "model"
        if how != "new":
            checkpoint.put_folder(target, lambda folder: (folder / "a.txt").write_text("old"))
        if not in_child(put, target, how, partial(kill_at, number, "-model")):
            return
        at_once = read(target)
        newest_for(target.parent, crew("cpu"))
        yield target.parent.name, [at_once, read(target)]


def read(target):
    return (target / "a.txt").read_text() if target.exists() and checkpoint.damage(target) is None else None


def main(out):
    torch.set_num_threads(1)
    learn(out / "unbroken")  # here: what a training imports is imported once
    left = dict(trainings(out))
    for how in ("new", "swap", "move"):
        left |= dict(folders(out, how))
    (out / "left.json").write_text(json.dumps(left, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
