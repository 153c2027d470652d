"""VGGish: the front end against Google's formulas in numpy, the network against torch's functions one by one."""

import numpy as np
import pytest
import torch
from torch.nn import functional as fn

from generation.evaluation.extractors.vggish import LogMel, Vggish
from scorer.weights import WeightsError
from tests import published_weights

WAVE = np.random.default_rng(0).normal(0, 0.1, 33_000).astype(np.float32)


@pytest.fixture(scope="module")
def state():
    return published_weights.vggish()


@pytest.fixture(scope="module")
def file(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("vggish") / "vggish.pth"
    torch.save(state, path)
    return path


def by_the_book(wave):
    """Log-mel examples as Google's mel_features has them."""
    frames = np.lib.stride_tricks.sliding_window_view(wave.astype(np.float64), 400)[::160]
    window = 0.5 - 0.5 * np.cos(2 * np.pi / 400 * np.arange(400))
    magnitudes = np.abs(np.fft.rfft(frames * window, 512))

    def mel(hz):
        return 1127.0 * np.log(1.0 + hz / 700.0)

    edges = np.linspace(mel(125.0), mel(7500.0), 66)
    bins = mel(np.linspace(0.0, 8000.0, 257))
    up = (bins[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    down = (edges[2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    filters = np.maximum(0.0, np.minimum(up, down))
    filters[0] = 0.0
    log_mel = np.log(magnitudes @ filters + 0.01)
    return log_mel[: len(log_mel) // 96 * 96].reshape(-1, 96, 64)


def test_front_end_is_googles():
    found = LogMel()(torch.from_numpy(WAVE))
    assert found.shape == (2, 1, 96, 64)
    np.testing.assert_allclose(found[:, 0].numpy(), by_the_book(WAVE), atol=2e-5)


def test_network_is_torchvggishs_without_the_last_relu(file, state):
    x = torch.from_numpy(by_the_book(WAVE)).float()[:, None]
    for place, pool in ((0, True), (3, True), (6, False), (8, True), (11, False), (13, True)):
        x = fn.relu(fn.conv2d(x, state[f"features.{place}.weight"], state[f"features.{place}.bias"], padding=1))
        x = fn.max_pool2d(x, 2) if pool else x
    x = torch.transpose(torch.transpose(x, 1, 3), 1, 2).reshape(len(x), -1)
    x = fn.relu(fn.linear(x, state["embeddings.0.weight"], state["embeddings.0.bias"]))
    x = fn.relu(fn.linear(x, state["embeddings.2.weight"], state["embeddings.2.bias"]))
    wanted = fn.linear(x, state["embeddings.4.weight"], state["embeddings.4.bias"]).numpy()
    ears = Vggish(file)
    found = ears.embed([WAVE])
    assert found.logits is None
    assert found.vectors.min() < 0
    np.testing.assert_allclose(found.vectors, wanted, atol=1e-3 * np.abs(wanted).max())
    both = ears.embed([WAVE[:5000], WAVE])  # less than a window is one window; all windows are pooled
    assert both.vectors.shape == (3, 128)
    np.testing.assert_allclose(both.vectors[1:], found.vectors, rtol=1e-4, atol=1e-5)


def test_a_file_that_does_not_fit_is_told_by_name(tmp_path, state):
    other = dict(state)
    other["features.1.weight"] = other.pop("features.13.bias")
    torch.save(other, tmp_path / "other.pth")
    with pytest.raises(
        WeightsError, match=r"VGGish.*features.13.bias is missing.*features.1.weight is not a tensor of"
    ):
        Vggish(tmp_path / "other.pth")
