"""State dicts with the names and shapes of published extractors' files, and random numbers in them.

The tensors are windows into a little storage, so that a file of 300 MB is one of 1 MB, and yet no two rows are alike.
"""

import math

import numpy as np
import torch


def strided(shape, scale, generator):
    """Random, each row shifted by three numbers against the one before."""
    row = math.prod(shape[1:])
    base = torch.randn(row + 3 * (shape[0] - 1), generator=generator) * scale
    return base.as_strided(shape, (3, *torch.empty(shape[1:], device="meta").stride()))


def linear(state, name, wide, narrow, generator, bias=True):
    state[f"{name}.weight"] = strided((wide, narrow), narrow**-0.5, generator)
    if bias:
        state[f"{name}.bias"] = torch.randn(wide, generator=generator) * 0.1


def vggish():
    """torchvggish's vggish-10086976.pth."""
    generator = torch.Generator().manual_seed(1)
    state = {}
    for place, wide, narrow in ((0, 64, 1), (3, 128, 64), (6, 256, 128), (8, 256, 256), (11, 512, 256), (13, 512, 512)):
        state[f"features.{place}.weight"] = strided((wide, narrow, 3, 3), (9 * narrow / 2) ** -0.5, generator)
        state[f"features.{place}.bias"] = torch.randn(wide, generator=generator) * 0.1
    for place, wide, narrow in ((0, 4096, 12288), (2, 4096, 4096), (4, 128, 4096)):
        linear(state, f"embeddings.{place}", wide, narrow, generator)
    return state


def norm(state, name, width, generator):
    state[f"{name}.weight"] = 1 + torch.randn(width, generator=generator) * 0.1
    state[f"{name}.bias"] = torch.randn(width, generator=generator) * 0.1
    state[f"{name}.running_mean"] = torch.randn(width, generator=generator) * 0.1
    state[f"{name}.running_var"] = 1 + torch.rand(width, generator=generator)
    state[f"{name}.num_batches_tracked"] = torch.tensor(7)


def panns(fft=512, rate=16_000, high_hz=8000.0):
    """The `model` of PANNs' Cnn14 files: torchlibrosa's front end as convolution kernels, then the network."""
    from transformers.audio_utils import mel_filter_bank

    generator = torch.Generator().manual_seed(2)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(fft) / fft)
    angles = 2 * np.pi * np.outer(np.arange(fft // 2 + 1), np.arange(fft)) / fft
    filters = mel_filter_bank(fft // 2 + 1, 64, 50.0, high_hz, rate, "slaney", "slaney")
    state = {
        "spectrogram_extractor.stft.conv_real.weight": torch.tensor(np.cos(angles) * window).float()[:, None],
        "spectrogram_extractor.stft.conv_imag.weight": torch.tensor(-np.sin(angles) * window).float()[:, None],
        "logmel_extractor.melW": torch.tensor(filters).float(),
    }
    norm(state, "bn0", 64, generator)
    narrow = 1
    for number, wide in enumerate((64, 128, 256, 512, 1024, 2048), 1):
        for layer, width in ((1, narrow), (2, wide)):
            name = f"conv_block{number}.conv{layer}.weight"
            state[name] = strided((wide, width, 3, 3), (9 * width / 2) ** -0.5, generator)
            norm(state, f"conv_block{number}.bn{layer}", wide, generator)
        narrow = wide
    linear(state, "fc1", 2048, 2048, generator)
    linear(state, "fc_audioset", 527, 2048, generator)
    return state


def passt():
    """PaSST's passt-s-f128-p16-s10-ap.476-swa.pt."""
    generator = torch.Generator().manual_seed(3)
    state = {
        name: torch.randn(shape, generator=generator) * 0.02
        for name, shape in {
            "cls_token": (1, 1, 768), "dist_token": (1, 1, 768), "new_pos_embed": (1, 2, 768),
            "freq_new_pos_embed": (1, 768, 12, 1), "time_new_pos_embed": (1, 768, 1, 99),
        }.items()
    }  # fmt: skip
    state["patch_embed.proj.weight"] = strided((768, 1, 16, 16), 1 / 16, generator)
    state["patch_embed.proj.bias"] = torch.randn(768, generator=generator) * 0.1
    names = [f"blocks.{block}.{layer}" for block in range(12) for layer in ("norm1", "norm2")]
    for name in (*names, "norm", "head.0"):
        state[f"{name}.weight"] = 1 + torch.randn(768, generator=generator) * 0.1
        state[f"{name}.bias"] = torch.randn(768, generator=generator) * 0.1
    for block in range(12):
        for layer, wide, narrow in (
            ("attn.qkv", 2304, 768),
            ("attn.proj", 768, 768),
            ("mlp.fc1", 3072, 768),
            ("mlp.fc2", 768, 3072),
        ):
            linear(state, f"blocks.{block}.{layer}", wide, narrow, generator)
    linear(state, "head.1", 527, 768, generator)
    linear(state, "head_dist", 527, 768, generator)
    return state
