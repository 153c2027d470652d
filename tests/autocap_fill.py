"""Formula weights and inputs of the golden vectors in tests/data/autocap: full size, from names alone.

A tensor's values are 0.04 times the normals that numpy's PCG64 draws from the CRC-32 of its name; norms' weights and
BatchNorm's variances lie around 1. The vectors were made by the reference's own modules with the same rule.
"""

import json
import re
import zlib
from pathlib import Path

import numpy as np
import torch

from captioner.autocap.checkpoint import TIED, UNUSED, build

DATA = Path(__file__).parent / "data" / "autocap"
NORM = re.compile(r".*(norm\d?|LayerNorm|bn0|layer_norm|layernorm_embedding|layernorm)\.weight")


def fill(name, shape):
    drawn = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode()))).standard_normal(shape) * 0.04
    value = drawn.astype(np.float32)
    if name.endswith("running_var"):
        return torch.from_numpy(1 + np.abs(value))
    return torch.from_numpy(np.float32(1) + value if NORM.fullmatch(name) else value)


def shapes():
    return {name: tuple(shape) for name, shape in json.loads((DATA / "state_dict.json").read_text()).items()}


def lean_state():
    """What captions of the published layout's 1,297 tensors, but for the tied ones."""
    wanted = {n: s for n, s in shapes().items() if not UNUSED.fullmatch(n) and n not in TIED}
    return {name: fill(name, shape) for name, shape in wanted.items()}


def full_net():
    return build(lean_state())


def clap_audio_state():
    """CLAP's audio side under LAION's names."""
    prefix = "clap_model.model."
    names = {n: s for n, s in shapes().items() if re.match(r"clap_model\.model\.audio_(branch|projection)\.", n)}
    skipped = re.compile(r".*(_extractor|tscam_conv|head|relative_position_index|attn_mask|num_batches_tracked).*")
    return {n.removeprefix(prefix): fill(n, s) for n, s in names.items() if not skipped.fullmatch(n)}


def raw_wave(seconds, seed):
    rate = 32_000
    samples = round(seconds * rate)
    t = np.arange(samples) / rate
    tones = 0.4 * np.sin(2 * np.pi * 220 * t) + 0.3 * np.sin(2 * np.pi * 1330 * t + 0.5)
    tones += 0.2 * np.sin(2 * np.pi * 5200 * t) + 0.25 * np.sin(2 * np.pi * (300 * t + 150 * t**2))
    noise = np.random.Generator(np.random.PCG64(seed)).standard_normal(samples)
    return (tones + 0.05 * noise).astype(np.float32)


WAVES = {"c10": raw_wave(10.0, 1234), "c4": raw_wave(4.3, 4321)}
METADATA = {
    "c10": [50265, 102, 2335, 6203, 11, 10, 882, 50266, 1437, 50118, 1437, 50269, 9226, 9, 5, 3293, 50270],
    "c4": [50265, 50266, 50269, 3930, 50270],
}
DEC_IN = [2, 0, 250, 313, 6823, 25, 3930, 8, 2345, 10745, 4]


def golden():
    return np.load(DATA / "parity.npz")
