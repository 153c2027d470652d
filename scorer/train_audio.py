"""Teach the audio tower in two steps: to hear what YAMNet hears, then to meet the captions.

Step 1 (distil) needs no captions: class probabilities and features per patch, and the mix of class texts as the
clip's direction. Step 2 (align) draws a scene's vector to its caption, away from the other captions of the batch,
while step 1's losses go on. The shipped tower is the mean of the weights after both (see train.py): alignment
alone forgets sounds that no caption names.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as fn

from scorer.data import SceneSet
from scorer.model import DIM, TOKEN_DIM, AudioTower, Heard, class_mix
from scorer.optim import fit
from scorer.teachers import YAMNET_DIM

BATCH = 32
DISTIL_BATCH = 20  # per process: many small steps teach more than few large ones


class Batch:
    """Some scenes of a set as tensors, the mel bent a little."""

    def __init__(self, scenes: SceneSet, rows: np.ndarray, draw: np.random.Generator) -> None:
        self.rows = rows
        self.mel = torch.from_numpy(augment(scenes.mel[rows].astype(np.float32), draw))
        self.classes = torch.from_numpy(scenes.classes[rows].astype(np.float32))
        self.features = torch.from_numpy(scenes.features[rows].astype(np.float32))


def augment(mel_BTF: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Random gain and spectral tilt, and SpecAugment's masks: two of time, two of frequency."""
    batch, frames, bands = mel_BTF.shape
    tilt = draw.uniform(-1.0, 1.0, (batch, 1, 1)) * np.linspace(-1, 1, bands)[None, None]
    out = np.maximum(mel_BTF + draw.uniform(-1.5, 1.0, (batch, 1, 1)) + tilt, np.log(1e-3))
    for one in out:
        for _ in range(2):
            first = draw.integers(frames)
            one[first : first + draw.integers(1, 60)] = -6.0
            low = draw.integers(bands)
            one[:, low : low + draw.integers(1, 8)] = -6.0
    return np.asarray(out, dtype=np.float32)


class Distiller(nn.Module):
    """The tower with the head that only its teacher needs."""

    def __init__(self, tower: AudioTower) -> None:
        super().__init__()
        self.tower = tower
        self.features = nn.Linear(TOKEN_DIM, YAMNET_DIM)

    def loss(self, heard: Heard, batch: Batch) -> torch.Tensor:
        weight = 0.2 + 20.0 * batch.classes
        classes = fn.binary_cross_entropy_with_logits(
            heard.class_logits.float(), batch.classes, weight, reduction="none"
        )
        wanted = batch.features.clamp(min=0).sqrt()
        features = self.features(heard.patches).float()
        direction = class_mix(batch.classes, self.tower.class_text)
        return (
            classes.sum(dim=2).mean() * 0.2
            + (1 - fn.cosine_similarity(features, wanted, dim=2)).mean()
            + fn.mse_loss(features, wanted)
            + (1 - fn.cosine_similarity(heard.clip.float(), direction, dim=1)).mean()
        )


def distil(distiller: Distiller, scenes: SceneSet, *, steps: int, seed: int, batch: int = DISTIL_BATCH) -> float:
    draw = np.random.default_rng(seed)
    distiller.train()

    def loss_of_step(_: int) -> torch.Tensor:
        drawn = Batch(scenes, np.sort(draw.integers(len(scenes), size=batch)), draw)
        return distiller.loss(distiller.tower(drawn.mel), drawn)

    return fit("distil", distiller.parameters(), loss_of_step, steps=steps, peak_rate=2e-3)


def align(
    distiller: Distiller, scenes: SceneSet, captions_NVD: torch.Tensor, *, steps: int, seed: int, batch: int = BATCH
) -> float:
    """`captions_NVD`: per scene some captions of it, embedded; wild scenes' rows are not used."""
    draw = np.random.default_rng(seed)
    captioned = np.array([k for k, labels in enumerate(scenes.labels) if labels])
    same = [" | ".join(labels) for labels in scenes.labels]
    sharpness = nn.Parameter(torch.tensor(1 / 0.07).log())
    distiller.train()

    def loss_of_step(_: int) -> torch.Tensor:
        drawn = Batch(scenes, np.sort(draw.choice(captioned, batch, replace=False)), draw)
        heard = distiller.tower(drawn.mel)
        forms = draw.integers(captions_NVD.shape[1], size=batch)
        texts = captions_NVD[drawn.rows, forms]
        names = [same[k] for k in drawn.rows]
        matches = torch.tensor([[a == b for b in names] for a in names], dtype=torch.float32)
        audio = fn.normalize(heard.clip.float(), dim=-1)
        return contrast(audio, texts, matches, sharpness.exp()) + 0.5 * distiller.loss(heard, drawn)

    return fit("align", [*distiller.parameters(), sharpness], loss_of_step, steps=steps, peak_rate=5e-4)


def contrast(
    audio_BD: torch.Tensor, text_BD: torch.Tensor, matches_BB: torch.Tensor, sharpness: torch.Tensor
) -> torch.Tensor:
    """InfoNCE both ways; equal captions are all positives."""
    logits = sharpness * audio_BD @ text_BD.T
    wanted = matches_BB / matches_BB.sum(dim=1, keepdim=True)
    return 0.5 * (fn.cross_entropy(logits, wanted) + fn.cross_entropy(logits.T, wanted.T.contiguous()))


def refresh_norms(tower: AudioTower, scenes: SceneSet, *, batches: int, seed: int) -> None:
    """Batch norms' statistics anew, as they belong to no weights after two towers were averaged."""
    for layer in tower.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.momentum = None  # a plain mean over the batches
    draw = np.random.default_rng(seed)
    tower.train()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for _ in range(batches):
            rows = np.sort(draw.integers(len(scenes), size=BATCH))
            tower(torch.from_numpy(scenes.mel[rows].astype(np.float32)))
    tower.eval()


def mean_embedding(tower: AudioTower, scenes: SceneSet, rows: np.ndarray) -> torch.Tensor:
    """The mean direction of the scenes named: what every audio has in common."""
    tower.eval()
    total = torch.zeros(DIM)
    with torch.no_grad():
        for chunk in np.array_split(rows, max(1, len(rows) // BATCH)):
            mel = torch.from_numpy(scenes.mel[np.sort(chunk)].astype(np.float32))
            total += fn.normalize(tower(mel).clip, dim=-1).sum(dim=0)
    return total / len(rows)
