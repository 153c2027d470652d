from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
import torch
from torch.nn import functional as fn

from scorer.data import SceneSet
from scorer.features import BANDS, FRAMES
from scorer.model import CLASSES, DIM, AudioTower, TextTower, class_mix
from scorer.optim import average, join
from scorer.teachers import PATCHES, YAMNET_DIM
from scorer.tokens import make_tokenizer
from scorer.train_audio import Distiller, align, augment, contrast, distil, mean_embedding, refresh_norms
from scorer.train_text import train_text


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def scenes(count=16):
    draw = np.random.default_rng(0)
    classes = np.zeros((count, PATCHES, CLASSES), dtype=np.float16)
    mel = draw.normal(-4, 0.5, (count, FRAMES, BANDS)).astype(np.float16)
    for k in range(count):
        classes[k, :, k % 4] = 1.0
        mel[k, :, 16 * (k % 4) : 16 * (k % 4) + 16] += 4
    return SceneSet(
        mel=mel,
        classes=classes,
        features=draw.uniform(0, 1, (count, PATCHES, YAMNET_DIM)).astype(np.float16),
        labels=[(f"sound {k % 4}",) for k in range(count)],
        relations=["alone"] * count,
        names=[("x",)] * count,
    )


def test_the_audio_tower_learns_from_its_teacher_and_then_from_captions():
    torch.manual_seed(0)
    made = scenes()
    tower = AudioTower()
    tower.class_text.copy_(fn.normalize(torch.randn(CLASSES, DIM), dim=1))
    distiller = Distiller(tower)
    first = distil(distiller, made, steps=1, seed=0, batch=8)
    assert distil(distiller, made, steps=4, seed=0, batch=8) < first
    captions = fn.normalize(torch.randn(4, DIM), dim=1)[torch.arange(16) % 4][:, None]
    assert np.isfinite(align(distiller, made, captions, steps=2, seed=0, batch=8))
    refresh_norms(tower, made, batches=1, seed=0)
    assert 0 < float(mean_embedding(tower, made, np.arange(16)).norm()) <= 1.0


def test_the_text_tower_learns_directions():
    torch.manual_seed(0)
    phrases = [f"a {thing} {doing}" for thing in ("dog", "cat", "bell", "car") for doing in ("barks", "rings", "runs")]
    tokenizer = make_tokenizer(phrases, 300)
    wanted = fn.normalize(torch.randn(len(phrases), DIM), dim=1)
    tower = TextTower(tokenizer.get_vocab_size())
    first = train_text(tower, tokenizer, phrases, wanted, steps=1, seed=0)
    assert train_text(tower, tokenizer, phrases, wanted, steps=12, seed=0) < 0.8 * first


def test_augmentation_keeps_shape_floor_and_numbers():
    mel = np.full((3, FRAMES, BANDS), -4.0, dtype=np.float32)
    out = augment(mel, np.random.default_rng(0))
    assert out.shape == mel.shape
    assert out.dtype == np.float32
    assert out.min() >= np.log(1e-3) - 1e-4


def test_contrast_is_least_for_matching_pairs():
    vectors, sharpness = torch.eye(4), torch.tensor(10.0)
    matched = contrast(vectors, vectors, torch.eye(4), sharpness)
    assert matched < contrast(vectors, vectors.flip(0), torch.eye(4), sharpness)


def test_silence_does_not_count_among_the_classes():
    text = fn.normalize(torch.randn(CLASSES, DIM), dim=1)
    heard = torch.zeros(1, PATCHES, CLASSES)
    heard[:, :, 494] = 1.0
    heard[:, :3, 7] = 0.5
    assert torch.allclose(class_mix(heard, text), text[7:8], atol=1e-4)


def test_processes_that_joined_average_what_they_found(tmp_path):
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(averaged, tmp_path / "meet", rank) for rank in range(2)]
        assert [job.result() for job in jobs] == [[0.5, 1.0, 3.0]] * 2


def averaged(meeting, rank):
    join(meeting, rank, 2)
    values = [torch.tensor([0.0 + rank, 1.0]), torch.tensor([[2.0 + 2 * rank]])]
    average(values)
    return torch.cat([v.flatten() for v in values]).tolist()
