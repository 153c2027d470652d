"""Files that are read, and files that are refused, each by name and reason."""

import os
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from captioner.autocap.checkpoint import KIND, build, find_file, read_weights
from captioner.load import CaptionerError, load_captioner
from scorer.weights import WeightsError, sha256_of
from tests import autocap_fill as formula
from tests.small_autocap import options, published_state, save_small_autocap, small_net


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return save_small_autocap(tmp_path_factory.mktemp("autocap"))


def test_the_published_layout_is_read_whole(small):
    state, sha256, card = read_weights(small.checkpoint)
    net, wanted = build(state), small_net()
    assert sha256 == sha256_of(small.checkpoint)
    assert card == {}
    for name, value in wanted.state_dict().items():
        if "num_batches" not in name:
            torch.testing.assert_close(net.state_dict()[name], value, msg=name)


def test_every_published_name_is_used_or_known():
    """The 1,297 names of the real file, by shape alone."""
    from captioner.autocap.checkpoint import TIED, UNUSED
    from captioner.autocap.net import AutoCapNet
    from captioner.autocap.shape import bart_config, shape_of

    with torch.device("meta"):
        state = {name: torch.empty(shape) for name, shape in formula.shapes().items()}
        used = {name: value for name, value in state.items() if not UNUSED.fullmatch(name)}
        net = AutoCapNet(shape_of(used), bart_config(used))
    wanted = {n: v.shape for n, v in net.state_dict().items() if not n.endswith("num_batches_tracked")}
    assert len(state) == 1297
    assert {name: value.shape for name, value in used.items()} == wanted
    assert set(TIED) <= set(used)


def test_the_lean_subset_is_enough():
    state = published_state(small_net())
    lean = {
        n: v for n, v in state.items()
        if not n.startswith(("special_tokens_embed.model", "clap_model", "decoder.lm_head")) and "tscam" not in n
    }  # fmt: skip
    torch.testing.assert_close(build(lean).decoder.lm_head.weight, state["decoder.model.shared.weight"])


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda s: s.pop("clap_layernorm.weight"), "clap_layernorm.weight is missing"),
        (lambda s: s.update({"strange.weight": torch.zeros(2)}), "strange.weight is not a tensor of AutoCap"),
        (lambda s: s.update({"enc_to_dec_proj.bias": torch.zeros(3)}), r"enc_to_dec_proj.bias has shape \(3,\)"),
        (lambda s: s.pop("audio_query_tokens"), "audio_query_tokens is missing: this is no AutoCap"),
    ],
)
def test_what_does_not_fit_is_named(spoil, told):
    state = published_state(small_net())
    spoil(state)
    with pytest.raises(WeightsError, match=told):
        build(state)


def test_another_front_end_is_refused():
    state = published_state(small_net())
    state["encoder.audio_enc.audio_feats_extractor.log_trans.melW"] = torch.zeros(513, 64)
    with pytest.raises(WeightsError, match="mel filters"):
        build(state)


def test_a_truncated_file_is_refused(small, tmp_path):
    short = tmp_path / "autocap-full.ckpt"
    short.write_bytes(small.checkpoint.read_bytes()[:100_000])
    with pytest.raises(CaptionerError, match=r"cannot be read as a checkpoint.*fetch it again"):
        load_captioner(str(short), options=options(small))


def test_a_clap_file_is_no_autocap(small):
    with pytest.raises(CaptionerError, match="this is no AutoCap checkpoint"):
        load_captioner(str(small.clap), options=options(small))


class Runs:
    def __reduce__(self):
        return os.system, ("touch /tmp/autorecap-test-was-run",)


def test_a_pickle_that_would_run_code_is_refused(small, tmp_path):
    evil = tmp_path / "evil.ckpt"
    torch.save({"state_dict": {"a": Runs()}}, evil)
    with pytest.raises(CaptionerError, match="is refused"):
        load_captioner(str(evil), options=options(small))
    plain = tmp_path / "plain.ckpt"
    plain.write_bytes(pickle.dumps(Runs()))
    with pytest.raises(CaptionerError, match="is refused"):
        load_captioner(str(plain), options=options(small))
    assert not os.path.exists("/tmp/autorecap-test-was-run")


@pytest.mark.parametrize("card", ["[1]", "\xff", '{"kind": "autocap"}'])
def test_a_card_that_is_none_is_refused(small, tmp_path, card):
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    (tmp_path / "card.json").write_bytes(card.encode("latin-1"))
    with pytest.raises(CaptionerError, match="card"):
        load_captioner(str(tmp_path), options=options(small))


def test_a_tensor_of_other_dimensions_is_named():
    state = published_state(small_net())
    state["audio_query_tokens"] = torch.zeros(4)
    with pytest.raises(WeightsError, match=r"audio_query_tokens has shape \(4,\), wanted 3 dimensions"):
        build(state)


def test_a_clap_of_another_width_is_refused(small):
    with pytest.raises(CaptionerError, match="makes vectors of 384 numbers, this model takes 24"):
        load_captioner(str(small.checkpoint), options=replace(options(small), clap="embedded"))


def test_nothing_under_a_name(small, tmp_path):
    with pytest.raises(CaptionerError, match="no captioner under 'no/such-model'"):
        load_captioner("no/such-model", options=options(small))
    with pytest.raises(WeightsError, match="holds neither"):
        find_file(str(tmp_path))


def test_a_folder_of_our_own_is_read_and_checked(small, tmp_path):
    import json

    net = small_net(seed=5)
    save_file({n: v.contiguous().clone() for n, v in net.state_dict().items()}, tmp_path / "model.safetensors")
    card = {
        "kind": KIND,
        "model_id": "mine",
        "tag_spacing": "kept",
        "clap_model": "clap@0123",
        "weights_sha256": sha256_of(tmp_path / "model.safetensors"),
    }
    (tmp_path / "card.json").write_text(json.dumps(card))
    alone = load_captioner(str(tmp_path), options=replace(options(small), clap=None))
    assert (alone.model_id, alone.clap_name) == ("mine", "clap@0123")
    assert alone.options.tag_spacing == "kept"  # as it was trained
    with pytest.raises(CaptionerError, match="is not the CLAP that this model was trained with, clap@0123"):
        load_captioner(str(tmp_path), options=options(small))
    with pytest.raises(CaptionerError, match=r"\(clap@0123\): name that CLAP"):
        alone.caption([np.zeros(3200, np.float32)])
    (tmp_path / "card.json").write_text(json.dumps(card | {"weights_sha256": "0" * 64}))
    with pytest.raises(CaptionerError, match="is not the file that its card"):
        load_captioner(str(tmp_path), options=options(small))
