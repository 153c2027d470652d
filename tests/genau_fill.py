"""Formula weights and inputs of the golden vectors in tests/data/genau: any size, from names alone.

A tensor's values are 0.02 times the normals that numpy's PCG64 draws from the CRC-32 of its name; norms' weights,
weight norm's lengths and running variances lie around 1. The vectors were made by the reference's own classes with
this rule.
"""

import json
import zlib
from pathlib import Path

import numpy as np
import torch

DATA = Path(__file__).parent / "data" / "genau"


def normals(tag, shape, scale=1.0):
    drawn = np.random.Generator(np.random.PCG64(zlib.crc32(tag.encode()))).standard_normal(shape)
    return torch.from_numpy(np.multiply(drawn, scale, out=drawn).astype(np.float32))


def fill(name, shape):
    value = normals(name, tuple(shape), 0.02)
    if name.endswith("running_var"):
        return 1 + value.abs()
    is_norm = name.endswith(("gamma", "weight_g")) or (len(shape) == 1 and name.endswith("weight"))
    return 1 + value if is_norm else value


def shapes(name):
    return json.loads((DATA / f"{name}_state_dict.json").read_text())


def state(name, skipped=("loss.", "vocoder.")):
    return {key: fill(key, shape) for key, shape in shapes(name).items() if not key.startswith(skipped)}


def golden(name):
    return np.load(DATA / f"parity_{name}.npz")


def mel(frames):
    """(1, 64, frames)."""
    t, f = np.arange(frames)[None, :], np.arange(64)[:, None]
    values = -5 + 3 * np.sin(0.05 * t + 0.3 * f) + 1.5 * np.cos(0.11 * t - 0.7 * f)
    return torch.from_numpy(values.astype(np.float32))[None]


def one_hot(ids, of=32):
    return torch.nn.functional.one_hot(torch.tensor(ids), of).float()


def wave():
    """5 s of tones, a rising tone and noise at 16 kHz."""
    n = np.arange(80_000) / 16_000
    noise = np.random.Generator(np.random.PCG64(zlib.crc32(b"wav"))).standard_normal(80_000)
    tone = 0.6 * np.sin(2 * np.pi * 440 * n) * (0.5 + 0.5 * np.sin(2 * np.pi * 3 * n))
    return (tone + 0.3 * np.sin(2 * np.pi * (200 * n + 350 * n**2)) + 0.02 * noise + 0.01).astype(np.float32)


def small_fit():
    from genau.fit import Fit, shape_of

    weights = state("fit_small")
    net = Fit(shape_of(weights, group=16, head_width=32))
    net.load_state_dict(weights)
    return net.eval()
