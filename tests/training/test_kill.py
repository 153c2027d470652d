"""kill -9 at each thing that a save does to the disk (by tests/killed_saves.py): what is left, what comes of it."""

import json

import pytest

from tests.processes import run_module
from tests.small_lesson import curve


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    out = tmp_path_factory.mktemp("killed")
    run_module("tests.killed_saves", str(out))
    return out, json.loads((out / "left.json").read_text())


def of(left, kind):
    return {name: value for name, value in left.items() if name.startswith(kind)}


def test_a_training_goes_on_from_the_last_good_checkpoint_to_the_same_losses(killed):
    out, left = killed
    stopped = of(left, "steps-")
    assert len(stopped) > 10
    assert {tuple(whole) for _, whole in stopped.values()} >= {("step-00000002",), ("step-00000004",)}
    for name, (signalled, whole) in stopped.items():
        assert signalled == (25 if name == "steps-00" else 9)  # the first in the middle of a file
        assert whole, name
        assert curve(out / name) == curve(out / "unbroken"), name
        for file in ("model/model.safetensors", "checkpoints/step-00000006/optimizer.safetensors"):
            assert (out / name / file).read_bytes() == (out / "unbroken" / file).read_bytes(), (name, file)
        assert not list((out / name).rglob(".tmp-*")), name


def test_a_folder_that_replaces_another_is_there_at_every_moment(killed):
    _, left = killed
    assert set(map(tuple, of(left, "swap-").values())) == {("old", "old"), ("new", "new")}


def test_where_a_disk_cannot_exchange_the_next_start_puts_the_old_one_back(killed):
    _, left = killed
    assert set(map(tuple, of(left, "move-").values())) == {("old", "old"), (None, "old"), ("new", "new")}


def test_a_first_folder_is_never_there_in_part(killed):
    _, left = killed
    assert len(of(left, "new-")) > 3
    assert set(map(tuple, of(left, "new-").values())) == {(None, None)}
