import hashlib
import json

import numpy as np
import pytest
import torch

from scorer.load import ClapOptions, ScorerError, load_scorer, model_name
from scorer.weights import WeightsError
from tests.small_clap import EMBEDDING_DIM, save_folder, save_laion, small_model

RATE_HZ = 48_000


@pytest.fixture(scope="module")
def models():
    return {"plain": small_model(), "fusion": small_model(fusion=True, seed=1)}


@pytest.fixture(scope="module")
def folder(models, tmp_path_factory):
    """One folder and one .pt per model, as save_pretrained and LAION write them: the real loading path, no network."""
    path = tmp_path_factory.mktemp("clap")
    for name, model in models.items():
        save_folder(model, path / name)
        save_laion(model, path / f"{name}.pt")
    return path


def sound(seconds, seed=0):
    draw = np.random.default_rng(seed)
    slow = np.sin(np.arange(int(seconds * RATE_HZ)) / 5000)
    return (draw.normal(0, 0.1, slow.size) * slow).astype(np.float32)


def laion(folder, name="plain", **options):
    return load_scorer(str(folder / f"{name}.pt"), options=ClapOptions(tokenizer=str(folder / name), **options))


@torch.inference_mode()
def by_transformers(model, folder, wave, text):
    """The plain way: its own extractor and model, one clip at a time."""
    from transformers import AutoTokenizer, ClapFeatureExtractor

    extract = ClapFeatureExtractor.from_pretrained(folder)
    tokens = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    heard = model.get_audio_features(**extract(wave, sampling_rate=RATE_HZ, return_tensors="pt")).pooler_output
    return heard[0].numpy(), model.get_text_features(**tokens).pooler_output[0].numpy()


@pytest.mark.parametrize("seconds", [10.0, 4.0, 0.01])
def test_a_folder_gives_what_transformers_gives(models, folder, seconds):
    scorer = load_scorer(str(folder / "plain"))
    assert (scorer.sample_rate_hz, scorer.window_s, scorer.embedding_dim) == (RATE_HZ, 10.0, EMBEDDING_DIM)
    wave, text = sound(seconds), "a dog barks while water runs"
    audio, words = by_transformers(models["plain"], folder / "plain", wave, text)
    assert np.allclose(scorer.embed_audio([wave])[0], audio, atol=1e-5)
    assert np.allclose(scorer.embed_text([text])[0], words, atol=1e-5)


def test_a_long_clip_of_a_fusion_model_gives_what_transformers_gives(models, folder, monkeypatch):
    """Its crops are random; with the middle of each third drawn there too, the numbers are the same."""
    scorer = load_scorer(str(folder / "fusion"), options=ClapOptions(long_clips="fusion"))
    monkeypatch.setattr(np.random, "choice", lambda starts: starts[len(starts) // 2])
    for seconds in (10.5, 23.0):
        audio, _ = by_transformers(models["fusion"], folder / "fusion", sound(seconds), "rain")
        assert np.allclose(scorer.embed_audio([sound(seconds)])[0], audio, atol=1e-5)


@pytest.mark.parametrize("name", ["plain", "fusion"])
def test_laions_file_gives_what_the_folder_gives(folder, name):
    of_folder = load_scorer(str(folder / name), options=ClapOptions(int16_rounding=True))
    of_file = laion(folder, name)
    waves = [sound(10), sound(3, 1), sound(25, 2)]
    assert np.allclose(of_file.embed_audio(waves), of_folder.embed_audio(waves), atol=1e-6)
    assert np.allclose(of_file.embed_text(["water runs"]), of_folder.embed_text(["water runs"]), atol=1e-6)
    assert of_file.weights_sha256 == hashlib.sha256((folder / f"{name}.pt").read_bytes()).hexdigest()


def test_neighbours_change_nothing(folder):
    scorer = laion(folder)
    clips = [sound(1), sound(10, 1), sound(23, 2)]
    together = scorer.embed_audio(clips)
    assert together.dtype == np.float32
    assert np.allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)
    assert np.array_equal(together, np.concatenate([scorer.embed_audio([clip]) for clip in clips]))
    texts = ["a dog barks", "water", "", "a dog barks " * 40, *(f"{k} dogs bark" for k in range(12))]
    vectors = scorer.embed_text(texts)
    assert np.array_equal(vectors, np.concatenate([scorer.embed_text([text]) for text in texts]))
    assert np.array_equal(vectors[::-1], scorer.embed_text(texts[::-1]))
    assert scorer.embed_audio([]).shape == scorer.embed_text([]).shape == (0, EMBEDDING_DIM)


def test_batches_give_what_single_clips_give(folder):
    clips = [sound(10, seed) for seed in range(3)] + [sound(25, 9)]
    for name, long_clips in (("plain", "windows"), ("fusion", "fusion")):
        one, many = (laion(folder, name, long_clips=long_clips, batch=size) for size in (1, 4))
        assert np.allclose(one.embed_audio(clips), many.embed_audio(clips), atol=1e-5)


def test_long_clips_are_heard_as_asked(folder):
    long = sound(25)
    windows, crop = laion(folder), laion(folder, long_clips="crop")
    middle = long[(long.size - 480_000) // 2 :][:480_000]
    assert np.allclose(crop.embed_audio([long]), windows.embed_audio([middle]), atol=1e-6)
    parts = windows.embed_audio([long[:480_000], long[360_000:840_000], long[-480_000:]])
    mean = parts.mean(axis=0) / np.linalg.norm(parts.mean(axis=0))
    assert np.allclose(windows.embed_audio([long])[0], mean, atol=1e-6)
    assert model_name(crop).startswith("plain+long_clips=crop@")
    with pytest.raises(ScorerError, match="needs a fusion checkpoint"):
        laion(folder, long_clips="fusion")


def test_short_clips_are_filled_as_asked(folder):
    short = sound(4)
    twice = np.pad(np.tile(short, 2), (0, 480_000 - 2 * short.size))
    assert np.allclose(laion(folder).embed_audio([short]), laion(folder).embed_audio([twice]), atol=1e-6)
    zeros = np.pad(short, (0, 480_000 - short.size))
    assert np.allclose(laion(folder, filling="pad").embed_audio([short]), laion(folder).embed_audio([zeros]), atol=1e-6)
    again = np.resize(short, 480_000)
    repeat = laion(folder, filling="repeat")
    assert np.allclose(repeat.embed_audio([short]), laion(folder).embed_audio([again]), atol=1e-6)


def test_samples_are_rounded_as_released_unless_told_not_to(folder):
    faint = sound(10) * 1e-4
    rounded, plain = laion(folder), laion(folder, int16_rounding=False)
    as_rounded = ((faint * 32767).astype(np.int16) / 32767).astype(np.float32)
    assert np.allclose(rounded.embed_audio([faint]), plain.embed_audio([as_rounded]), atol=1e-6)
    assert not np.allclose(rounded.embed_audio([faint]), plain.embed_audio([faint]), atol=1e-5)


def test_bfloat16_is_near(folder):
    half = laion(folder, precision="bfloat16")
    assert (half.embed_audio([sound(10)]) @ laion(folder).embed_audio([sound(10)]).T).item() > 0.999
    assert "precision=bfloat16" in half.model_id


def test_weights_other_than_named_are_refused(folder):
    right = laion(folder).weights_sha256
    assert laion(folder, weights_sha256=right[:12].upper()).weights_sha256 == right
    with pytest.raises(ScorerError, match=f"have SHA-256 {right}, wanted 000000000000"):
        laion(folder, weights_sha256="000000000000")
    with pytest.raises(ScorerError, match="at least 12 digits"):
        laion(folder, weights_sha256=right[:4])
    with pytest.raises(ScorerError, match="no options but weights_sha256"):
        load_scorer(options=ClapOptions(filling="pad"))


def test_a_name_with_nothing_behind_it_is_a_clear_error(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clap"}))
    with pytest.raises(ScorerError, match="no CLAP under"):
        load_scorer(str(tmp_path))
    with pytest.raises(WeightsError, match="there is no file"):
        load_scorer(str(tmp_path / "none.pt"))


def test_a_missing_tokenizer_is_a_clear_error(folder, tmp_path):
    with pytest.raises(ScorerError, match="name a folder or Hub name in `tokenizer`"):
        load_scorer(str(folder / "plain.pt"), options=ClapOptions(tokenizer=str(tmp_path)))


def test_laions_package_is_asked_for_where_it_is_not(folder):
    with pytest.raises(ScorerError, match="make laion-env"):
        load_scorer(f"laion-clap:{folder / 'plain.pt'}")
