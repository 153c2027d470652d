import numpy as np
import pytest
import torch

from generation.conditioners.base import ConditionerError
from generation.conditioners.t5 import MAX_TOKENS, load_t5
from tests.small_t5 import WIDTH, save_t5

TEXTS = ["a dog barks", "", "water runs and runs and runs over a stone", "so " * 2000, "雨が降る\x00"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(save_t5(tmp_path_factory.mktemp("t5") / "small-t5"))


@pytest.fixture(scope="module")
def t5(folder):
    return load_t5(folder)


def test_it_says_what_it_is(t5):
    assert (t5.name, t5.width, t5.independent) == ("small-t5", WIDTH, True)
    assert len(t5.weights_sha256) == 64


def test_a_text_s_vector_is_the_mean_over_its_tokens(t5, folder):
    from transformers import AutoTokenizer, T5EncoderModel

    net, tokenizer = T5EncoderModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    found = t5.embed(TEXTS)
    for row, text in enumerate(TEXTS):
        ids = tokenizer(text, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
        with torch.no_grad():
            hidden = net(**ids).last_hidden_state[0]
        np.testing.assert_allclose(found[row], hidden.mean(0).numpy(), atol=2e-5)
    assert found.dtype == np.float32


def test_a_text_s_vector_does_not_depend_on_its_neighbours(t5):
    together = t5.embed(TEXTS * 3)
    for row, text in enumerate(TEXTS):
        assert (t5.embed([text])[0] == together[row]).all()
        assert (together[row] == together[row + len(TEXTS)]).all()


def test_the_reference_s_mean_goes_over_padding_too(folder, t5):
    padded = load_t5(folder, pooling="padded")
    assert not padded.independent
    assert padded.name == "small-t5+padded"
    np.testing.assert_allclose(padded.embed(TEXTS[:1]), t5.embed(TEXTS[:1]), atol=2e-5)
    beside_a_longer_one = padded.embed([TEXTS[0], TEXTS[2]])[0]
    assert np.abs(beside_a_longer_one - t5.embed(TEXTS[:1])[0]).max() > 1e-2


def test_no_texts_give_no_rows(t5, folder):
    assert t5.embed([]).shape == load_t5(folder, pooling="padded").embed([]).shape == (0, WIDTH)


def test_bfloat16_is_near(folder, t5):
    half = load_t5(folder, precision="bfloat16")
    np.testing.assert_allclose(half.embed(TEXTS), t5.embed(TEXTS), atol=0.05)
    assert half.name.endswith("+bf16")


def test_a_name_that_is_none_is_told(tmp_path):
    with pytest.raises(ConditionerError, match="no T5 under"):
        load_t5(str(tmp_path))
