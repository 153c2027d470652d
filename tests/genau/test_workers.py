"""Two workers (tests/genau_workers.py) learn what one does: FIT with DDP and FSDP, the VAE with its discriminator."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from genau.card import VaeCard, read_folder
from tests.genau_workers import fit
from tests.processes import run_two
from tests.small_lesson import curve

FILES = ("model.safetensors", "net.safetensors", "optimizer.safetensors")


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory):
    out = tmp_path_factory.mktemp("workers")
    run_two("tests.genau_workers", "main", str(out))
    return out


def numbers(out):
    return [[line[key] for key in ("step", "loss", "grad_norm", "clips")] for line in curve(out)]


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_workers_learn_as_one_with_two_passes_does(tmp_path, two_workers, parallel):
    fit(tmp_path, 4, accumulate=2)
    np.testing.assert_allclose(numbers(two_workers / parallel), numbers(tmp_path), rtol=2e-4)
    last = "checkpoints/step-00000004"
    for name in FILES:
        one, two = load_file(tmp_path / last / name), load_file(two_workers / parallel / last / name)
        assert one.keys() == two.keys()
        assert one
        for key in one:
            torch.testing.assert_close(two[key], one[key], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_one_worker_goes_on_from_the_checkpoint_of_two(tmp_path, two_workers, parallel):
    shutil.copytree(two_workers / parallel / "checkpoints", tmp_path / "checkpoints")
    kept = load_file(tmp_path / "checkpoints/step-00000004/net.safetensors")
    lesson, trained = fit(tmp_path, 4, accumulate=2)  # nothing to do: what it begins with
    for name, value in lesson.net.named_parameters():
        assert torch.equal(value, kept[name]), name
    assert (trained.finished, trained.step) == (True, 4)
    assert fit(tmp_path, 6, accumulate=2)[1].step == 6
    assert [line["step"] for line in curve(tmp_path)] == [5, 6]


def test_both_turns_of_the_vae_run_and_workers_keep_the_same_discriminator(two_workers):
    first, second = json.loads((two_workers / "vae/ranks.json").read_text())
    assert first == second
    for line in curve(two_workers / "vae/run"):
        assert line["clips"] == 2
        assert line["discriminator/loss"] > 0
        assert line["vae/rec"] > 0
        assert "vae/d_weight" in line
    card, _ = read_folder(two_workers / "vae/run/model", VaeCard)
    assert card.step == 1
