"""PANNs' Cnn14: the front end against the file's own convolution kernels, the network against torch's functions."""

import numpy as np
import pytest
import torch
from torch.nn import functional as fn

from generation.evaluation.extractors.panns import SHAPES, LogMel, Panns
from scorer.weights import WeightsError
from tests import published_weights

WAVE = np.random.default_rng(0).normal(0.02, 0.1, 32_000).astype(np.float32)


@pytest.fixture(scope="module")
def state():
    return published_weights.panns()


@pytest.fixture(scope="module")
def ears(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("panns") / "Cnn14_16k_mAP=0.438.pth"
    torch.save({"iteration": 1, "model": state}, path)
    return Panns(path, SHAPES["panns"])


def by_its_kernels(state, wave):
    """(1, T, 64) dB, as torchlibrosa computes it: two convolutions over the reflected wave."""
    padded = fn.pad(torch.from_numpy(wave)[None, None], (256, 256), mode="reflect")
    real, imaginary = (
        fn.conv1d(padded, state[f"spectrogram_extractor.stft.conv_{part}.weight"], stride=160)
        for part in ("real", "imag")
    )
    power = (real**2 + imaginary**2).transpose(1, 2)
    return 10 * torch.log10(torch.clamp(power @ state["logmel_extractor.melW"], min=1e-10))


def normed(x, state, name):
    parts = [state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
    return fn.batch_norm(x, *parts)


def test_front_end_is_the_files_own(state):
    found = LogMel(state, SHAPES["panns"], "it")(torch.from_numpy(WAVE)[None])
    assert found.shape == (1, 201, 64)
    np.testing.assert_allclose(found.numpy(), by_its_kernels(state, WAVE).numpy(), atol=2e-3)


def test_network_is_the_published_one(state, ears):
    x = by_its_kernels(state, WAVE - WAVE.mean())[:, None]  # (1, 1, T, 64)
    x = normed(x.transpose(1, 3), state, "bn0").transpose(1, 3)
    for number in range(1, 7):
        for layer in (1, 2):
            name = f"conv_block{number}"
            x = fn.conv2d(x, state[f"{name}.conv{layer}.weight"], padding=1)
            x = fn.relu(normed(x, state, f"{name}.bn{layer}"))
        x = fn.avg_pool2d(x, 2) if number < 6 else x
    x = torch.mean(x, dim=3)
    x = torch.max(x, dim=2).values + torch.mean(x, dim=2)
    vector = fn.relu(fn.linear(x, state["fc1.weight"], state["fc1.bias"]))
    logits = fn.linear(vector, state["fc_audioset.weight"], state["fc_audioset.bias"])
    found = ears.embed([WAVE])
    assert found.vectors.shape == (1, 2048)
    np.testing.assert_allclose(found.vectors, vector.numpy(), atol=1e-3 * float(vector.abs().max()))
    np.testing.assert_allclose(found.logits, logits.numpy(), atol=1e-3 * float(logits.abs().max()))


def test_a_clip_under_two_seconds_has_silence_behind_it(ears):
    short = WAVE[:9000] - WAVE[:9000].mean()
    both = ears.embed([short, WAVE])
    assert both.vectors.shape == (2, 2048)
    filled = np.pad(short, (0, 23_000))
    np.testing.assert_allclose(both.vectors[:1], ears.embed([filled]).vectors, atol=1e-3)


def test_a_file_of_another_rate_or_with_other_names_is_told(tmp_path, state):
    path = tmp_path / "Cnn14.pth"
    torch.save({"model": state}, path)
    with pytest.raises(WeightsError, match=r"conv_real.weight has shape \(257, 1, 512\).*the file of 32000 Hz"):
        Panns(path, SHAPES["panns-32k"])
    torch.save({"model": {**{n: v for n, v in state.items() if n != "fc1.bias"}, "fc2.bias": torch.zeros(3)}}, path)
    with pytest.raises(WeightsError, match=r"fc1.bias is missing; fc2.bias is not a tensor of"):
        Panns(path, SHAPES["panns"])
    torch.save({"model": {n: v for n, v in state.items() if "melW" not in n}}, path)
    with pytest.raises(WeightsError, match=r"logmel_extractor\.melW is missing"):
        Panns(path, SHAPES["panns"])
