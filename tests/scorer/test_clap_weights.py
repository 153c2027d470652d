import os
import pickle

import pytest
import torch

from scorer.clap_weights import from_laion, from_transformers, read_laion
from scorer.htsat import HtsatShape
from scorer.weights import WeightsError
from tests.small_clap import laion_state, save_laion, small_model


@pytest.fixture(scope="module")
def model():
    return small_model()


def state_of(model):
    return {name.removeprefix("module."): value for name, value in laion_state(model).items()}


def test_both_layouts_hold_the_same_tensors(model):
    ours, theirs = from_transformers(model), from_laion(state_of(model))
    for part in ("audio", "text", "audio_projection", "text_projection"):
        left, right = getattr(ours, part), getattr(theirs, part)
        for name in right:
            assert torch.equal(left[name].float(), right[name].float()), name
    assert ours.shape == theirs.shape


def test_sizes_are_read_from_the_tensors(model):
    assert from_laion(state_of(model)).shape == HtsatShape(width=32, depths=(2, 2, 2, 2), heads=(1, 2, 4, 8))
    fused = from_laion(state_of(small_model(fusion=True))).shape
    assert (fused.fusion, fused.fusion_width) == (True, 8)


def test_a_tower_built_otherwise_is_refused(model):
    model.config.audio_config.hidden_act = "relu"
    try:
        with pytest.raises(WeightsError, match="hidden_act is 'relu', wanted 'gelu'"):
            from_transformers(model)
    finally:
        model.config.audio_config.hidden_act = "gelu"


def test_a_checkpoint_with_trainings_scalars_is_read(model, tmp_path):
    save_laion(model, tmp_path / "clap.pt")
    weights, sha256 = read_laion(tmp_path / "clap.pt")
    assert weights.embedding_dim == 24
    assert len(sha256) == 64


def test_unknown_and_missing_names_are_listed(model):
    state = state_of(model)
    with pytest.raises(WeightsError, match=r"not CLAP's: visual\.proj"):
        from_laion(state | {"visual.proj": torch.zeros(1)})
    del state["audio_projection.2.bias"]
    with pytest.raises(WeightsError, match=r"audio_projection\.2\.bias is missing"):
        from_laion(state)


def test_tensors_of_another_size_are_listed(model):
    from transformers import ClapTextConfig

    from scorer.clap import ClapNet

    weights = from_laion(state_of(model))
    text = model.config.text_config
    del weights.audio["layers.1.blocks.0.mlp.fc1.bias"]
    weights.audio["norm.weight"] = torch.zeros(3)
    with pytest.raises(
        WeightsError, match=r"layers\.1\.blocks\.0\.mlp\.fc1\.bias is missing; norm\.weight has shape \(3,\)"
    ):
        ClapNet(weights, text)
    with pytest.raises(WeightsError, match="the text tower does not fit"):
        ClapNet(from_laion(state_of(model)), ClapTextConfig())


def test_other_towers_are_refused_with_what_to_do(model):
    panns = {k: v for k, v in state_of(model).items() if not k.startswith("audio_branch.patch_embed")}
    with pytest.raises(WeightsError, match=r"no HTSAT.*laion-clap:FILE"):
        from_laion(panns | {"audio_branch.conv_block1.conv1.weight": torch.zeros(1)})


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"state_dict": Evil()}, tmp_path / "evil.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Evil()))
    for name in ("evil.pt", "plain.pt"):
        with pytest.raises(WeightsError, match="refused"):
            read_laion(tmp_path / name)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("keep", [0, 10, 5000])
def test_a_truncated_file_is_a_clear_error(model, tmp_path, keep):
    save_laion(model, tmp_path / "whole.pt")
    data = (tmp_path / "whole.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(data[:keep])
    with pytest.raises(WeightsError, match=r"cut\.pt"):
        read_laion(tmp_path / "cut.pt")


def test_a_file_of_something_else_is_a_clear_error(tmp_path):
    for name, content in (("list", [1, 2]), ("empty", {}), ("numbers", {"state_dict": {"a": 1}})):
        torch.save(content, tmp_path / f"{name}.pt")
        with pytest.raises(WeightsError, match=name):
            read_laion(tmp_path / f"{name}.pt")
