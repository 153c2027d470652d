import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from captioner.autocap.train import begin, train
from training.errors import TrainError

ROOT = Path(__file__).parents[3]


def curve(out):
    lines = [json.loads(line) for line in (out / "losses.jsonl").read_text().splitlines()]
    return [(line["step"], line["loss"], line["rate"], line["grad_norm"]) for line in lines if "loss" in line]


def run(recipe, out, should_stop=lambda: False):
    begin(recipe, out, resume=True)
    return train(recipe, out, should_stop)


def weights(out):
    from safetensors.torch import load_file

    return load_file(out / "model/model.safetensors")


#: Everything that draws: mixtures, dropped keys, stripes, paths, dropouts; averaged weights; two passes a step.
FULL = {
    "text": {"drop_key": 0.3},
    "augment": {"mix": 0.5},
    "optimizer": {"epochs": 0.67, "batch_clips": 1, "accumulate": 2, "ema_decay": 0.9},
    "data": {"loader_workers": 2},
}


def test_a_killed_training_goes_on_to_the_same_curve(tmp_path, recipe):
    trial = recipe(**FULL, keep={"every_steps": 3})
    whole = run(trial, tmp_path / "whole")
    assert (whole.finished, whole.step) == (True, 8)
    begin(trial, tmp_path / "killed", resume=False)
    (tmp_path / "recipe.json").write_text(trial.model_dump_json())
    killed_at = start_and_kill(tmp_path / "recipe.json", tmp_path / "killed", after_step=5)
    assert killed_at < 8
    done = curve(tmp_path / "killed")
    assert done == curve(tmp_path / "whole")[: len(done)]
    again = run(trial, tmp_path / "killed")
    assert again.finished
    # To the last digit: losses, gradients, the final weights.
    assert curve(tmp_path / "killed") == curve(tmp_path / "whole")
    one, two = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert all(torch.equal(one[name], two[name]) for name in one)


def start_and_kill(recipe, out, after_step):
    """A training in a process of its own, ended by kill -9 some time after a step; the last step that it has told."""
    code = (
        "import sys, time; from pathlib import Path; from captioner.autocap.train import train; "
        "from captioner.autocap.train_recipe import TrainRecipe; "
        "train(TrainRecipe.model_validate_json(Path(sys.argv[1]).read_text()), Path(sys.argv[2]), "
        "lambda: bool(time.sleep(0.2)))"  # slow steps, so that the kill comes before the end
    )
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", code, str(recipe), str(out)], env=env, start_new_session=True)
    try:
        while process.poll() is None and (not (out / "losses.jsonl").exists() or len(curve(out)) < after_step):
            time.sleep(0.02)
        assert process.poll() is None, "it ended before it could be killed"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return len(curve(out))


def test_a_stop_leaves_a_checkpoint_to_go_on_from(tmp_path, recipe):
    trial = recipe(keep={"every_steps": 100})
    asked = iter([False, False, True])
    stopped = run(trial, tmp_path / "out", lambda: next(asked))
    assert (stopped.finished, stopped.step, stopped.steps) == (False, 3, 6)
    assert not (tmp_path / "out/model").exists()
    assert run(trial, tmp_path / "out").finished
    assert [step for step, *_ in curve(tmp_path / "out")] == [1, 2, 3, 4, 5, 6]


def test_a_training_goes_on_with_other_passes_but_not_with_other_steps(tmp_path, recipe):
    asked = iter([False, True])
    run(recipe(optimizer={"batch_clips": 4}), tmp_path / "out", lambda: next(asked))
    with pytest.raises(TrainError, match=r"steps are of 4 clips, now of 6"):
        run(recipe(optimizer={"batch_clips": 2, "accumulate": 3}), tmp_path / "out")
    other = recipe(optimizer={"batch_clips": 2, "accumulate": 2}, data={"loader_workers": 2})
    assert run(other, tmp_path / "out").finished
    assert [step for step, *_ in curve(tmp_path / "out")] == [1, 2, 3]


def test_passes_of_a_step_learn_as_one_batch(tmp_path, recipe):
    """With nothing drawn: four clips at once, or two and two, whatever their captions' lengths."""
    off = dict.fromkeys(
        ("mix", "audio_dropout", "text_dropout", "bart_dropout", "drop_path", "time_stripes", "mel_stripes"), 0
    )
    curves = []
    for batch, accumulate in ((4, 1), (2, 2)):
        out = tmp_path / f"{batch}"
        frozen = {"frozen": ["audio_Qformer.*", "encoder.*"]}  # the Q-Former's dropout is always there in training
        trial = recipe(augment=off, freeze=frozen, optimizer={"batch_clips": batch, "accumulate": accumulate})
        run(trial, out)
        curves.append([loss for _, loss, *_ in curve(out)])
    assert curves[0] == pytest.approx(curves[1], rel=1e-4)


def test_the_loss_falls_and_validation_is_logged(tmp_path, recipe, shards):
    trial = recipe(
        optimizer={"epochs": 3, "batch_clips": 4, "peak_rate": 5e-3},
        validation={"shards": [str(shards)], "every_steps": 9, "max_clips": 6},
        keep={"every_steps": 100, "tensorboard": True},
        augment={"audio_dropout": 0, "text_dropout": 0},
    )
    run(trial, tmp_path / "out")
    losses = [loss for _, loss, *_ in curve(tmp_path / "out")]
    assert sum(losses[-3:]) < 0.75 * sum(losses[:3])
    lines = [json.loads(line) for line in (tmp_path / "out/losses.jsonl").read_text().splitlines()]
    measured = [line["validation"] for line in lines if "validation" in line]
    assert len(measured) == 2
    assert measured[1]["loss"] < measured[0]["loss"]
    assert measured[1]["clips"] == 6
    assert {"cider", "different"} <= measured[1].keys()
    (events,) = (tmp_path / "out/tensorboard").iterdir()
    data = events.read_bytes()
    for tag in (b"loss", b"rate", b"clips_per_s", b"validation/loss", b"captions"):
        assert tag in data


def test_a_folder_holds_one_training(tmp_path, recipe):
    out = tmp_path / "out"
    begin(recipe(optimizer={"peak_rate": 0.3}), out, resume=False)
    begin(recipe(), out, resume=False)  # nothing was trained yet
    (out / "checkpoints/step-00000002").mkdir(parents=True)
    with pytest.raises(TrainError, match="--resume"):
        begin(recipe(), out, resume=False)
    begin(recipe(keep={"every_steps": 99}, execution={"threads": 2}), out, resume=True)
    with pytest.raises(TrainError, match=r"optimizer\.peak_rate: there 0\.002, asked 0\.1"):
        begin(recipe(optimizer={"peak_rate": 0.1}), out, resume=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").write_text("x")
    with pytest.raises(TrainError, match="no training"):
        begin(recipe(), tmp_path / "other", resume=True)


def test_a_damaged_checkpoint_costs_only_its_steps(tmp_path, recipe):
    trial = recipe(optimizer={"epochs": 0.5}, keep={"every_steps": 2})
    asked = iter([False] * 3 + [True])
    run(trial, tmp_path / "out", lambda: next(asked))
    with (tmp_path / "out/checkpoints/step-00000004/model.safetensors").open("r+b") as file:
        file.truncate(1000)
    assert run(trial, tmp_path / "out").finished
    run(trial, tmp_path / "whole")
    assert curve(tmp_path / "out") == curve(tmp_path / "whole")
