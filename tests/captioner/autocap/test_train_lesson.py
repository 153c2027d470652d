import pytest
import torch

from captioner.autocap.freeze import freeze, training_mode
from captioner.autocap.net import BOS, EOS
from captioner.autocap.train_data import Clip
from captioner.autocap.train_lesson import IGNORED, Lesson
from captioner.autocap.train_start import start
from captioner.load import Metadata
from tests.small_shards import tone

CAPTIONS = ["a dog barks", "water runs while a bell rings twice"]
CPU = torch.device("cpu")


@pytest.fixture
def lesson(recipe):
    def make(**changes):
        trial = recipe(**changes)
        return Lesson(*start(trial, 4, CAPTIONS), trial)

    return make


def batch_of(lesson, rows=(0, 1)):
    clips = [
        Clip(str(row), tone(200.0 * (row + 1)), (CAPTIONS[row],), Metadata(title="t " * (1 + 4 * row)), None)
        for row in rows
    ]
    clap = torch.eye(4).numpy()[list(rows)]
    return lesson.prepare(clips, clap, CPU)


def test_labels_are_cut_and_ended(lesson):
    short = lesson(text={"caption_tokens": 6})
    labels = short.labels(CAPTIONS)
    assert labels.shape[1] == 6
    assert labels[:, 0].tolist() == [BOS, BOS]
    assert labels[1, -1] == EOS
    whole = lesson().labels(CAPTIONS)
    assert (whole[0] == IGNORED).any()
    told = [i for i in whole[0].tolist() if i not in (BOS, EOS, IGNORED)]
    assert lesson().tokenizer.decode(told) == CAPTIONS[0]


def test_a_sum_over_a_batch_is_the_sum_of_its_clips(lesson):
    net = lesson().eval()
    with torch.no_grad():
        both = float(net(batch_of(net)))
        apart = sum(float(net(batch_of(net, (row,)))) for row in (0, 1))
    assert both == pytest.approx(apart, rel=1e-5)


def test_the_clap_token_joins_before_the_encoder_or_behind(lesson):
    states = {}
    for position in ("encoder", "decoder"):
        one = lesson(clap={"position": position}).eval()
        with torch.no_grad():
            states[position], mask = one.states(batch_of(one))
        assert mask.shape == states[position].shape[:2]
    early, late = states["encoder"], states["decoder"]
    assert early.shape == late.shape
    one = lesson(clap={"position": "decoder"}).eval()
    with torch.no_grad():
        assert torch.equal(late[:, 0], one.net.clap_token(batch_of(one).clap)[:, 0])
    assert not torch.allclose(early[:, 1:], late[:, 1:], atol=1e-3)  # the encoder heard it, or did not


def test_inference_hears_what_training_taught(lesson):
    """With `position: encoder` the states are those that captioning makes."""
    one = lesson().eval()
    batch = batch_of(one)
    with torch.no_grad():
        audio = one.net.query(one.net.hear(one.log_mel(batch.waves)))
        inputs, mask = one.net.bart_input(audio, batch.metadata, one.net.clap_token(batch.clap))
        wanted = one.net.understand(inputs, mask)
        found, found_mask = one.states(batch)
    assert torch.equal(found, wanted)
    assert torch.equal(found_mask, mask)


@pytest.mark.parametrize("dropout", ["audio_dropout", "text_dropout", "bart_dropout", "drop_path", "time_stripes"])
def test_each_augmentation_acts_in_training_only(lesson, dropout):
    shares = ("audio_dropout", "text_dropout", "bart_dropout", "drop_path")
    none = dict.fromkeys((*shares, "time_stripes", "mel_stripes"), 0)
    one = lesson(augment={**none, dropout: 2 if dropout == "time_stripes" else 0.4})
    batch = batch_of(one)
    for part in one.net.audio_Qformer.modules():
        part.training = False  # its own dropout is always there in training

    def alike():
        with torch.no_grad():
            return torch.equal(one.states(batch)[0], one.states(batch)[0])

    one.net.eval()
    one.training = False
    assert alike()
    one.training = True
    one.net.decoder.train()
    assert not alike()


def test_only_what_learns_gets_a_gradient_and_the_tower_s_statistics_stand(lesson):
    one = lesson(freeze={"frozen": ["encoder.audio_enc.*", "decoder.*"]})
    rules = one.recipe.freeze
    freeze(one.net, rules)
    one.train()
    training_mode(one.net, rules)
    before = one.net.tower.bn0.running_mean.clone()
    one(batch_of(one)).backward()
    got = {name.split(".")[0] for name, p in one.net.named_parameters() if p.grad is not None}
    assert got == {
        "enc_to_dec_proj", "audio_position_embedding", "audio_Qfromer_layernorm_embedding", "audio_query_tokens",
        "audio_Qformer", "audio_qformer_proj", "clap_proj", "clap_layernorm", "special_tokens_embed",
    }  # fmt: skip
    assert torch.equal(one.net.tower.bn0.running_mean, before)


def test_a_tower_that_learns_moves_its_position_bias(lesson):
    one = lesson()
    table = one.net.tower.layers[0].blocks[0].attn.relative_position_bias_table
    one.train()
    one(batch_of(one)).backward()
    assert float(table.grad.abs().sum()) > 0
    waves = batch_of(one).waves
    with torch.no_grad():
        before = one.eval().net.hear(one.log_mel(waves))
        table += torch.randn_like(table)
        one.train()  # prepares it anew on the way back
        assert not torch.equal(one.eval().net.hear(one.log_mel(waves)), before)


def test_a_net_without_clap_is_taught_without(recipe):
    trial = recipe(augment={"mix": 0}, clap={"model": None})
    one = Lesson(*start(trial, None, CAPTIONS), trial).eval()
    clip = Clip("a", tone(300.0), ("a dog barks",), Metadata(), None)
    with torch.no_grad():
        assert float(one(one.prepare([clip], None, CPU))) > 0
