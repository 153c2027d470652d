"""Model folders: what is written is read; what is damaged, torn or of another kind is refused in a sentence."""

import json

import pytest
import torch

from genau.card import ConditionerCard, GenauCard, VaeCard, VaeRef, read_card, read_folder, write_folder
from genau.fit import TINY
from scorer.weights import WeightsError


@pytest.fixture
def folder(tmp_path):
    card = GenauCard(
        model_id="rain",
        shape=TINY,
        scale_factor=1.25,
        datasets={"audiocaps": 0},
        conditioners=(ConditionerCard(name="embedded", width=384, weights_sha256="a" * 64),),
        vae=VaeRef(model="embedded", weights_sha256="b" * 64),
    )
    write_folder(tmp_path / "rain", {"latents": torch.arange(6.0).reshape(2, 3).T}, card)
    return tmp_path / "rain"


def test_a_folder_is_read_as_it_was_written(folder):
    card, state = read_folder(folder, GenauCard)
    assert (card.model_id, card.shape, card.scale_factor, card.vocoder) == ("rain", TINY, 1.25, "griffin-lim")
    torch.testing.assert_close(state["latents"], torch.arange(6.0).reshape(2, 3).T)


def test_it_is_put_in_place_of_an_older_one(folder):
    again = write_folder(folder, {"latents": torch.zeros(2)}, read_card(folder, GenauCard))
    assert read_folder(folder, GenauCard)[0] == again
    assert [path.name for path in folder.parent.iterdir()] == ["rain"]


def test_another_kind_is_told(folder):
    with pytest.raises(WeightsError, match="is no card of a genau-vae model: kind: Input should"):
        read_card(folder, VaeCard)


@pytest.mark.parametrize("left", [0, -5])
def test_a_truncated_file_is_told(folder, left):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:left])
    with pytest.raises(WeightsError, match=r"model.safetensors has SHA-256 \w+, its card says"):
        read_folder(folder, GenauCard)


def test_a_folder_without_a_part_is_told(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"has no model\.safetensors"):
        read_folder(folder, GenauCard)
    (folder / "card.json").unlink()
    with pytest.raises(WeightsError, match=r"has no card\.json"):
        read_folder(folder, GenauCard)


def test_a_card_with_impossible_values_is_told(folder):
    card = json.loads((folder / "card.json").read_text()) | {"scale_factor": 0, "vocodre": "x"}
    (folder / "card.json").write_text(json.dumps(card))
    with pytest.raises(WeightsError, match=r"scale_factor: .*greater than 0; vocodre: Extra inputs"):
        read_card(folder, GenauCard)
