import json
import logging

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from corpus.storage_faults import StorageFault
from tests.full_disk import SmallDisk
from tests.processes import run_two
from tests.small_lesson import SAME, Numbers, SmallLesson, TwoTurns, curve, plan, stop_after, train, turn
from training.checkpoint import damage
from training.errors import TrainError
from training.lesson import Batch, Loss


def weights(out):
    return load_file(out / "model/model.safetensors")


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory):
    out = tmp_path_factory.mktemp("together")
    run_two("tests.small_lesson", "together", str(out))
    return out


def numbers(out):
    return [[line[key] for key in ("step", "loss", "grad_norm", "worst", "clips")] for line in curve(out)]


@pytest.mark.parametrize("kind", ["adamw", "lamb"])
def test_two_workers_learn_as_one_with_ddp_and_with_fsdp(tmp_path, two_workers, kind):
    """The same four clips a step; stopped and gone on with in the middle, with blocks computed anew from then on."""
    train(SmallLesson(kind=kind), tmp_path, plan(8, **{**SAME, "accumulate": 1}), 4)
    one = weights(tmp_path)
    for parallel in ("ddp", "fsdp"):
        out = two_workers / f"{parallel}-{kind}"
        # The largest of two clips is not the largest of four.
        got, wanted = ([[*row[:3], row[4]] for row in numbers(where)] for where in (out, tmp_path))
        np.testing.assert_allclose(got, wanted, rtol=2e-4)
        many = weights(out)
        assert many.keys() == one.keys()
        for name in one:
            torch.testing.assert_close(many[name], one[name], rtol=1e-3, atol=1e-5)


def test_fsdp_keeps_whole_tensors_and_measures_as_ddp_does(two_workers):
    ddp, fsdp = (two_workers / f"{parallel}-lamb/checkpoints/step-00000008" for parallel in ("ddp", "fsdp"))
    for name in ("model.safetensors", "net.safetensors", "optimizer.safetensors"):
        one, two = load_file(ddp / name), load_file(fsdp / name)
        assert {key: value.shape for key, value in one.items()} == {key: value.shape for key, value in two.items()}
        assert one
    measured = [
        [line["validation"]["loss"] for line in map(json.loads, (two_workers / f"{p}-lamb/losses.jsonl").open())
         if "validation" in line]
        for p in ("ddp", "fsdp")
    ]  # fmt: skip
    assert len(measured[0]) == 2
    assert measured[0] == pytest.approx(measured[1], rel=1e-4)


def test_two_workers_with_two_turns_go_on_to_the_last_digit(two_workers):
    assert curve(two_workers / "turns") == curve(two_workers / "turns-whole")
    assert same(weights(two_workers / "turns"), weights(two_workers / "turns-whole"))


def test_a_stop_leaves_a_checkpoint_to_go_on_from(tmp_path):
    stopped = train(SmallLesson(), tmp_path, plan(6), should_stop=stop_after(3))
    assert (stopped.finished, stopped.step, stopped.steps) == (False, 3, 6)
    assert not (tmp_path / "model").exists()
    assert train(SmallLesson(), tmp_path, plan(6)).finished
    assert [line["step"] for line in curve(tmp_path)] == [1, 2, 3, 4, 5, 6]
    assert train(SmallLesson(), tmp_path, plan(6)).finished  # nothing left to do


def test_a_checkpoint_is_a_model_folder_with_the_averaged_weights(tmp_path):
    train(SmallLesson(), tmp_path, plan(5, 5, ema_decay=0.9))
    last = tmp_path / "checkpoints/step-00000005"
    card = json.loads((last / "card.json").read_text())
    assert (card["kind"], card["step"]) == ("small", 5)
    assert (last / "model.safetensors").read_bytes() == (tmp_path / "model/model.safetensors").read_bytes()
    averaged, rest = load_file(last / "model.safetensors"), load_file(last / "net.safetensors")
    assert averaged.keys() - rest.keys() == {"scale"}
    assert float(averaged["scale"]) == 1.5  # set from the first batch
    assert not torch.equal(averaged["head.weight"], rest["head.weight"])
    train(SmallLesson(), tmp_path / "plain", plan(5, 5))
    assert load_file(tmp_path / "plain/checkpoints/step-00000005/net.safetensors") == {}


def test_turns_learn_their_own_and_only_what_is_published_leaves(tmp_path):
    lesson = TwoTurns()
    before = {name: p.detach().clone() for name, p in lesson.net.named_parameters()}
    train(lesson, tmp_path, plan(4, ema_decay=0.9))
    assert all(not torch.equal(p, before[name]) for name, p in lesson.net.named_parameters())
    assert all(p.requires_grad for p in lesson.net.parameters())
    assert all(name.startswith(("layers.", "head.", "scale")) for name in weights(tmp_path))
    (last,) = (tmp_path / "checkpoints").iterdir()
    assert "judge.1.running_mean" in load_file(last / "net.safetensors")
    state = load_file(last / "optimizer.safetensors")
    assert {"judge/judge.0.weight/exp_avg", "maker/maker.head.weight/exp_avg"} <= state.keys()
    assert {"judge/loss", "maker/loss", "judge/rate", "maker/grad_norm"} <= curve(tmp_path)[0].keys()


def test_a_parameter_of_two_turns_or_of_none_is_refused(tmp_path):
    lesson = TwoTurns()
    lesson.turns = (turn("a", ("judge.*",)), turn("b", ("*",)))
    with pytest.raises(TrainError, match=r"judge[.0-9a-z]* learns in another turn"):
        train(lesson, tmp_path, plan())
    lesson.turns = (turn("a", ("nothing.*",)),)
    with pytest.raises(TrainError, match=r"no parameter is called 'nothing\.\*'"):
        train(lesson, tmp_path, plan())


def test_passes_of_a_step_learn_as_one_batch(tmp_path):
    train(SmallLesson(), tmp_path / "one", plan(4), batch_clips=4)
    train(SmallLesson(), tmp_path / "two", plan(4, accumulate=2, recompute=True), batch_clips=2)
    losses = [[line["loss"] for line in curve(tmp_path / name)] for name in ("one", "two")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_steps_of_another_size_are_refused(tmp_path):
    train(SmallLesson(), tmp_path, plan(4), should_stop=stop_after(2))
    with pytest.raises(TrainError, match="steps are of 4 clips, now of 6"):
        train(SmallLesson(), tmp_path, plan(4, accumulate=2), batch_clips=3)


def test_bfloat16_learns(tmp_path):
    train(SmallLesson(rate=0.05), tmp_path, plan(60, precision="bfloat16"), batch_clips=16)
    losses = [line["loss"] for line in curve(tmp_path)]
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    assert weights(tmp_path)["head.weight"].dtype == torch.float32


def test_switches_that_need_what_is_not_there_are_refused(tmp_path):
    lesson = SmallLesson()
    lesson.blocks = tuple
    with pytest.raises(TrainError, match="names no blocks"):
        train(lesson, tmp_path, plan(recompute=True))
    with pytest.raises(TrainError, match="needs workers"):
        train(SmallLesson(), tmp_path, plan(parallel="fsdp"))
    with pytest.raises(TrainError, match="one turn"):
        train(TwoTurns(), tmp_path, plan(parallel="fsdp"))


class Poisoned(SmallLesson):
    """Its loss is not finite on the steps that `bad` says."""

    def __init__(self, bad):
        super().__init__()
        self.bad = bad

    def loss(self, turn, x, step):
        loss = super().loss(turn, x, step)
        return Loss(loss.sum * (float("nan") if self.bad(step) else 1.0), loss.parts)


def test_a_gradient_that_is_not_finite_is_left_out_and_at_last_stops(tmp_path):
    train(Poisoned(lambda step: step % 2 == 1), tmp_path / "some", plan(24, ema_decay=0.9))
    assert all(torch.isfinite(value).all() for value in weights(tmp_path / "some").values())
    notes = [line for line in (tmp_path / "some/losses.jsonl").open() if "not finite" in line]
    assert len(notes) == 12
    # Ten in a row stop, also when the run was stopped and gone on with among them.
    bad = lambda step: step >= 3  # noqa: E731
    train(Poisoned(bad), tmp_path / "all", plan(24), should_stop=stop_after(8))
    with pytest.raises(TrainError, match="step 13, learn: the gradient of 10 steps in a row was not finite"):
        train(Poisoned(bad), tmp_path / "all", plan(24))


def test_a_damaged_checkpoint_costs_only_its_steps(tmp_path):
    train(SmallLesson(noise=0.1), tmp_path / "out", plan(8, 2), should_stop=stop_after(5))
    (tmp_path / "out/checkpoints/step-00000005/optimizer.safetensors").write_bytes(b"short")
    assert train(SmallLesson(noise=0.1), tmp_path / "out", plan(8, 2)).finished
    train(SmallLesson(noise=0.1), tmp_path / "whole", plan(8, 2))
    assert curve(tmp_path / "out") == curve(tmp_path / "whole")


def test_a_checkpoint_of_another_net_is_refused(tmp_path):
    train(SmallLesson(), tmp_path, plan(4), should_stop=stop_after(2))
    lesson = SmallLesson()
    lesson.net.head = nn.Linear(8, 3)
    with pytest.raises(TrainError, match=r"has in shape \(8, 8\) head\.weight, which is \(3, 8\) here"):
        train(lesson, tmp_path, plan(4))


class Wide(SmallLesson):
    """Its checkpoints take 0.8 MB."""

    def __init__(self):
        super().__init__()
        self.net.more = nn.Linear(256, 256)

    def loss(self, turn, x, step):
        loss = super().loss(turn, x, step)
        return Loss(loss.sum + self.net.more(x.repeat(1, 32)).square().sum(), loss.parts)


def test_a_full_disk_is_told_and_the_last_checkpoint_stays(tmp_path):
    disk = SmallDisk(tmp_path / "disk", 8192)
    out = disk.path / "out"
    try:
        train(Wide(), out, plan(6), should_stop=stop_after(2))
        filler = disk.fill(leave_kb=500)
        with pytest.raises(TrainError, match=r"step 4 could not be written to .*checkpoints: .*make room and go on"):
            train(Wide(), out, plan(6, 2))
        assert [path.name for path in (out / "checkpoints").iterdir()] == ["step-00000002"]
        assert damage(out / "checkpoints/step-00000002") is None
        filler.unlink()
        assert train(Wide(), out, plan(6)).finished
        train(Wide(), tmp_path / "whole", plan(6))
        assert curve(out) == curve(tmp_path / "whole")
    finally:
        disk.close()


@pytest.mark.parametrize("tensorboard", [True, False])
def test_a_disk_without_room_for_a_line_stops_the_training(tmp_path, tensorboard):
    disk, out = SmallDisk(tmp_path / "disk", 1024), tmp_path / "disk/out"
    try:
        train(SmallLesson(), out, plan(100, tensorboard=tensorboard), should_stop=stop_after(2))
        filler = disk.fill()
        with pytest.raises(StorageFault, match=r"no space left at .*/out: free some"):
            train(SmallLesson(), out, plan(100, tensorboard=tensorboard))
        filler.unlink()
        assert train(SmallLesson(), out, plan(100, tensorboard=tensorboard)).finished
        assert [line["step"] for line in curve(out)] == list(range(1, 101))
    finally:
        disk.close()


class Broken(Numbers):
    def batches(self, place, *, rank, world):
        yield Batch(np.zeros((4, 8), dtype=np.float32), 4, 1)
        raise TrainError("data: the shard is damaged")


def test_what_the_data_cannot_give_stops_the_training_in_its_words(tmp_path):
    with pytest.raises(TrainError, match="the shard is damaged"):
        train(SmallLesson(), tmp_path, plan(4), data=Broken())


def test_lines_curves_sounds_and_pictures_are_told(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    train(SmallLesson(), tmp_path, plan(4, validate_every_steps=4, tensorboard=True))
    lines = [record.getMessage() for record in caplog.records]
    (line,) = [line for line in lines if line.startswith("step 4/4")]
    for part in ("loss ", "rate ", " clips/s MFU - (", "% waiting for data) left 0:00:00"):
        assert part in line
    assert "skipped: too_short 1" in lines
    assert any(line.startswith("step 4 validation loss ") for line in lines)
    (events,) = (tmp_path / "tensorboard").iterdir()
    data = events.read_bytes()
    curves = (b"loss", b"rate", b"clips_per_s", b"waiting_share", b"validation/loss")
    for tag in (*curves, b"a_tone", b"RIFF", b"a_picture"):
        assert tag in data
    assert b"| a   b | c |" in data
