"""PaSST-S: the front end against Kaldi's formulas in numpy, the network against torch's functions one by one."""

import numpy as np
import pytest
import torch
from torch.nn import functional as fn

from generation.evaluation.classes import softmax
from generation.evaluation.extractors.passt import LogMel, Passt, windows_of
from tests import published_weights

RATE = 32_000
WAVE = np.random.default_rng(0).normal(0, 0.1, 12_000).astype(np.float32)


@pytest.fixture(scope="module")
def state():
    return published_weights.passt()


@pytest.fixture(scope="module")
def ears(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("passt") / "passt.pt"
    torch.save(state, path)
    return Passt(path)


def by_the_book(wave):
    """(128, T): pre-emphasis, a centred STFT with a symmetric window of 800 in 1,024, Kaldi's mel banks."""
    x = wave.astype(np.float64)
    x = np.pad(x[1:] - 0.97 * x[:-1], 512, mode="reflect")
    window = np.pad(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(800) / 799), 112)
    frames = np.lib.stride_tricks.sliding_window_view(x, 1024)[::320]
    power = np.abs(np.fft.rfft(frames * window)) ** 2
    top = 1127.0 * np.log(1 + 15_000 / 700)
    mel = 1127.0 * np.log(1 + np.arange(512) * (RATE / 1024) / 700)
    step = top / 129
    filters = np.stack([np.maximum(0, 1 - np.abs(mel - (k + 1) * step) / step) for k in range(128)])
    return (np.log(power[:, :512] @ filters.T + 1e-5).T + 4.5) / 5


def test_front_end_is_the_published_one():
    found = LogMel()(torch.from_numpy(WAVE)[None])[0]
    np.testing.assert_allclose(found.numpy(), by_the_book(WAVE), atol=1e-4)


def layer_norm(x, state, name, eps=1e-6):
    return fn.layer_norm(x, (768,), state[f"{name}.weight"], state[f"{name}.bias"], eps)


def linear(x, state, name):
    return fn.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])


def test_network_is_the_published_one(state, ears):
    x = torch.from_numpy(by_the_book(WAVE)).float()[None, None]
    x = fn.conv2d(x, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=10)
    x = x + state["time_new_pos_embed"][..., : x.shape[-1]] + state["freq_new_pos_embed"]
    x = x.flatten(2).transpose(1, 2)
    two = torch.cat(
        [state["cls_token"] + state["new_pos_embed"][:, :1], state["dist_token"] + state["new_pos_embed"][:, 1:]], 1
    )
    x = torch.cat([two, x], dim=1)
    for k in range(12):
        qkv = linear(layer_norm(x, state, f"blocks.{k}.norm1"), state, f"blocks.{k}.attn.qkv")
        q, k_, v = qkv.reshape(1, -1, 3, 12, 64).permute(2, 0, 3, 1, 4)
        attention = (q @ k_.transpose(-2, -1) * 64**-0.5).softmax(dim=-1)
        x = x + linear((attention @ v).transpose(1, 2).reshape(1, -1, 768), state, f"blocks.{k}.attn.proj")
        inner = fn.gelu(linear(layer_norm(x, state, f"blocks.{k}.norm2"), state, f"blocks.{k}.mlp.fc1"))
        x = x + linear(inner, state, f"blocks.{k}.mlp.fc2")
    vector = layer_norm(x, state, "norm")[:, :2].mean(dim=1)
    logits = linear(layer_norm(vector, state, "head.0", 1e-5), state, "head.1")
    found = ears.embed([WAVE])
    np.testing.assert_allclose(found.vectors, vector.numpy(), atol=2e-3)
    np.testing.assert_allclose(softmax(found.logits), logits.softmax(dim=1).numpy(), rtol=1e-2, atol=1e-6)


def test_windows_are_ten_seconds_and_a_short_rest_is_left_out():
    sizes = [len(part) for part in windows_of(np.zeros(21 * RATE, np.float32))]
    assert sizes == [10 * RATE, 10 * RATE, RATE]
    assert [len(part) for part in windows_of(np.zeros(10 * RATE + 4800, np.float32))] == [10 * RATE]
    assert [len(part) for part in windows_of(np.zeros(10, np.float32))] == [16 * 320]


def test_a_long_clip_is_the_mean_of_its_windows(ears, monkeypatch):
    monkeypatch.setattr("generation.evaluation.extractors.passt.WINDOW_SAMPLES", 7000)
    both, first, second = ears.embed([WAVE]), ears.embed([WAVE[:7000]]), ears.embed([WAVE[7000:]])
    np.testing.assert_allclose(both.vectors, (first.vectors + second.vectors) / 2, atol=1e-5)
    mean = (softmax(first.logits) + softmax(second.logits)) / 2
    np.testing.assert_allclose(softmax(both.logits), mean, rtol=1e-4, atol=1e-7)
