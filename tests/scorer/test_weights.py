import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from scorer.embedded import KIND, EmbeddedScorer
from scorer.load import WEIGHTS
from scorer.weights import WeightsError, read_card, sha256_of


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(WEIGHTS, tmp_path / "model")


def rewrite(folder, change):
    """The weights changed, and a card that tells the truth about them."""
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors")
    card = json.loads((folder / "card.json").read_text())
    card["weights_sha256"] = sha256_of(folder / "model.safetensors")
    (folder / "card.json").write_text(json.dumps(card))


def test_the_shipped_folder_is_small_and_what_its_card_says():
    assert (WEIGHTS / "model.safetensors").stat().st_size < 20e6
    card = read_card(WEIGHTS, KIND)
    assert card["preset_thresholds"]["AutoReCapXL"] < card["preset_thresholds"]["MQ"] < card["preset_thresholds"]["HQ"]


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json"])
def test_a_damaged_file_is_refused(folder, file):
    data = bytearray((folder / file).read_bytes())
    data[-1] ^= 1
    (folder / file).write_bytes(data)
    with pytest.raises(WeightsError, match=r"has SHA-256 .* its card says"):
        EmbeddedScorer(folder)


def test_a_folder_of_another_kind_is_refused():
    with pytest.raises(WeightsError, match="holds a model of kind"):
        read_card(WEIGHTS, "something-else")


def test_a_wrong_shape_is_refused_by_name(folder):
    rewrite(folder, lambda state: state.update({"audio.project.bias": torch.zeros(3)}))
    with pytest.raises(WeightsError, match=r"audio\.project\.bias has shape \(3,\), wanted \(384,\)"):
        EmbeddedScorer(folder)


def test_missing_and_unknown_tensors_are_named(folder):
    rewrite(folder, lambda state: state.update({"audio.other": state.pop("audio.gate")}))
    with pytest.raises(WeightsError, match=r"audio\.gate is missing; audio\.other is not a tensor"):
        EmbeddedScorer(folder)


def test_a_folder_without_a_card_is_refused(tmp_path):
    with pytest.raises(WeightsError, match=r"no card\.json"):
        read_card(tmp_path, KIND)
