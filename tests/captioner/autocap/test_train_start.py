from pathlib import Path

import pytest
import torch

from captioner.autocap.freeze import freeze
from captioner.autocap.net import BOS, EOS, AutoCapNet
from captioner.autocap.shape import AutoCapShape
from captioner.autocap.train_recipe import Freeze, TrainRecipe
from captioner.autocap.train_start import PUBLISHED_CLAP_DIM, TOWER, make_tokenizer, start
from pipeline.config import load_typed
from scorer.htsat import Htsat
from tests.small_autocap import save_bart, save_small_autocap, small_config
from training.errors import TrainError

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def published():
    """The published sizes, without their gigabytes."""
    from transformers import BartConfig

    config = BartConfig(
        d_model=768, encoder_layers=6, decoder_layers=6, encoder_attention_heads=12, decoder_attention_heads=12,
        encoder_ffn_dim=3072, decoder_ffn_dim=3072,
    )  # fmt: skip
    shape = AutoCapShape(
        tower=TOWER, queries=256, query_width=256, query_layers=2, query_inner=3072, special_tokens=12,
        positions=1026, clap_dim=512,
    )  # fmt: skip
    with torch.device("meta"):
        net = AutoCapNet(shape, config)
    net.decoder.tie_weights()
    return net


def rules(stage, **changes):
    recipe = load_typed(ROOT / f"configs/autocap_stage{stage}.yaml", [], TrainRecipe)
    return recipe.freeze.model_copy(update=changes)


def millions(net, freeze_rules):
    return round(freeze(net, freeze_rules)[0] / 1e6, 1)


def test_what_learns_at_the_published_size(published):
    assert millions(published, rules(1)) == 6.8
    assert millions(published, rules(2)) == 107.6  # the tower and 38.6 M of word embeddings rest
    # The released code's slip, by its pattern: 15.4 M and, with the word embeddings, 154.8 M learn there.
    slip = ["encoder.audio_enc.layers.*.mlp.fc1.*"]
    assert millions(published, rules(1, trained=slip)) == 15.4
    assert millions(published, Freeze(frozen=["encoder.audio_enc.*"], trained=slip)) == 154.8


def test_htsat_and_bart_are_put_together(tmp_path, recipe):
    from safetensors.torch import load_file
    from transformers import BartForConditionalGeneration

    torch.manual_seed(1)
    save_bart(tmp_path / "bart")
    BartForConditionalGeneration(small_config()).save_pretrained(tmp_path / "bart")
    tower = {f"sed_model.{name}": value for name, value in Htsat(TOWER).state_dict().items()}
    more = {
        "sed_model.spectrogram_extractor.stft.conv_real.weight": torch.zeros(2),
        "sed_model.head.bias": torch.zeros(3),
    }
    torch.save({"state_dict": {**tower, **more}}, tmp_path / "HTSAT.ckpt")
    origin = {"small": None, "htsat": str(tmp_path / "HTSAT.ckpt"), "bart": str(tmp_path / "bart")}
    net, tokenizer = start(recipe(start=origin, augment={"bart_dropout": 0.25}), None, [])
    assert net.shape.clap_dim == PUBLISHED_CLAP_DIM
    assert torch.equal(net.tower.norm.weight, tower["sed_model.norm.weight"])
    words = load_file(tmp_path / "bart/model.safetensors")["model.shared.weight"]
    assert torch.equal(net.words.weight, words)
    positions = net.decoder.model.encoder.embed_positions.weight
    assert torch.equal(net.audio_position_embedding.weight, positions[: net.shape.positions])
    tags = net.special_tokens_embed["special_token_embed"].weight
    assert torch.equal(tags[0], words[BOS])
    assert torch.equal(tags[1], words[EOS])
    assert {layer.dropout for layer in net.decoder.model.encoder.layers} == {0.25}
    assert tokenizer.pad_token_id == 1


def test_a_checkpoint_is_gone_on_from(tmp_path, recipe):
    small = save_small_autocap(tmp_path)
    net, tokenizer = start(
        recipe(start={"small": None, "checkpoint": str(small.checkpoint), "bart": str(small.bart)}), 4, []
    )
    published = torch.load(small.checkpoint, weights_only=True)["state_dict"]
    assert torch.equal(net.audio_query_tokens, published["audio_query_tokens"])
    assert len(tokenizer) == net.words.num_embeddings


def test_a_start_repeats_with_its_seed(recipe):
    one, two, other = (start(recipe(seed=seed), 4, ["a dog barks"])[0] for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one.audio_query_tokens, other.audio_query_tokens)


def test_a_made_tokenizer_has_bart_s_ids_and_says_back_any_text():
    tokenizer = make_tokenizer(["a dog barks", "water runs"], 300)
    assert (tokenizer.bos_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id) == (0, 1, 2)
    for text in ("a dog barks", "Ein Bär brüllt – 3×!"):
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


@pytest.mark.parametrize("origin", [{"checkpoint": "/none.ckpt"}, {"htsat": "/none.ckpt"}, {}])
def test_a_start_that_is_not_there_is_told(recipe, origin):
    with pytest.raises(TrainError, match="start"):
        start(recipe(start={"small": None, "bart": "/none", **origin}), 4, [])


def test_two_origins_are_refused(recipe):
    with pytest.raises(ValueError, match="checkpoint and small"):
        recipe(start={"checkpoint": "x"})
