import json

import numpy as np
import pytest

from scorer.load import load_scorer
from scorer.tokens import make_tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny random ClapModel as save_pretrained writes it: the real loading path, no network."""
    import torch
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, PreTrainedTokenizerFast

    path = tmp_path_factory.mktemp("clap")
    special = ("<pad>", "<s>", "</s>", "<unk>", "<mask>")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=make_tokenizer(["a dog barks", "water runs"], 300, special),
        pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>",
    )  # fmt: skip
    tokenizer.save_pretrained(path)
    text = {"vocab_size": 300, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 16, "pad_token_id": 0, "max_position_embeddings": 90}  # fmt: skip
    text["projection_dim"] = 24
    audio = {"patch_embeds_hidden_size": 8, "depths": [1, 1], "num_attention_heads": [1, 2], "hidden_size": 16,
             "spec_size": 64, "num_mel_bins": 16, "window_size": 4, "projection_dim": 24, "enable_fusion": False,
             "patch_size": 4, "patch_stride": [4, 4]}  # fmt: skip
    torch.manual_seed(0)
    config = ClapConfig(text_config=text, audio_config=audio, projection_dim=24)
    ClapModel(config).save_pretrained(path, safe_serialization=True)
    ClapFeatureExtractor(
        feature_size=16, sampling_rate=16000, hop_length=640, max_length_s=2, fft_window_size=512,
        truncation="rand_trunc", padding="repeatpad",
    ).save_pretrained(path)  # fmt: skip
    return path


def test_a_clap_model_of_transformers_stands_behind_the_same_face(folder):
    scorer = load_scorer(str(folder))
    assert (scorer.sample_rate_hz, scorer.window_s, scorer.embedding_dim) == (16000, 2.0, 24)
    assert scorer.preset_thresholds["MQ"] == 0.4
    noise = np.random.default_rng(0).normal(0, 0.1, 100_000).astype(np.float32)
    clips = [noise[:9000], noise[:32000], noise]
    together = scorer.embed_audio(clips)
    assert together.shape == (3, 24)
    assert np.allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)
    assert np.array_equal(together, np.concatenate([scorer.embed_audio([clip]) for clip in clips]))
    texts = scorer.embed_text(["a dog barks", "water runs"])
    assert np.array_equal(texts[1:], scorer.embed_text(["water runs"]))
    assert len(scorer.weights_sha256) == 64


def test_other_weights_have_another_hash(folder, tmp_path):
    import hashlib

    scorer = load_scorer(str(folder))
    assert scorer.weights_sha256 == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def test_a_name_with_nothing_behind_it_is_a_clear_error(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clap"}))
    with pytest.raises(ValueError, match="no CLAP under"):
        load_scorer(str(tmp_path))
