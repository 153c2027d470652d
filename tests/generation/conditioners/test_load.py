import numpy as np
import pytest

from generation.conditioners.base import ConditionerError, Joined, key_of
from generation.conditioners.load import load_conditioner
from tests.small_clap import EMBEDDING_DIM, save_folder, save_laion, small_model, small_tokenizer
from tests.small_t5 import WIDTH, save_t5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoders")
    model = small_model()
    save_folder(model, folder / "clap")
    save_laion(model, folder / "clap.pt")
    save_t5(folder / "t5")
    return folder


def test_clap_and_t5_stand_side_by_side(folder):
    names = [f"clap:{folder}/clap", f"t5:{folder}/t5"]
    both = load_conditioner(names)
    found = both.embed(["a dog barks", ""])
    assert (both.width, found.shape) == (EMBEDDING_DIM + WIDTH, (2, EMBEDDING_DIM + WIDTH))
    for part, columns in zip(names, (slice(0, EMBEDDING_DIM), slice(EMBEDDING_DIM, None)), strict=True):
        assert (found[:, columns] == load_conditioner([part]).embed(["a dog barks", ""])).all()
    np.testing.assert_allclose(np.linalg.norm(found[:, :EMBEDDING_DIM], axis=1), 1, atol=1e-5)


def test_laion_s_file_is_the_same_clap(folder, tmp_path):
    small_tokenizer(tmp_path)
    theirs = load_conditioner([f"clap:{folder}/clap.pt"], clap_tokenizer=str(tmp_path))
    ours = load_conditioner([f"clap:{folder}/clap"])
    np.testing.assert_allclose(theirs.embed(["water runs"]), ours.embed(["water runs"]), atol=1e-5)


def test_the_embedded_one_needs_nothing():
    embedded = load_conditioner(["embedded"])
    assert embedded.embed(["rain", ""]).shape == (2, embedded.width)
    assert "@" in key_of(embedded)


def test_other_weights_are_another_conditioner(folder):
    one, two = load_conditioner(["embedded"]), load_conditioner([f"t5:{folder}/t5"])
    assert Joined([one, two]).weights_sha256 != Joined([two, one]).weights_sha256


@pytest.mark.parametrize("name", ["bert", "t5:", "clap:/nowhere", "t5:/nowhere", ""])
def test_what_is_none_is_told(name):
    with pytest.raises(ConditionerError):
        load_conditioner([name])


def test_none_at_all_is_told():
    with pytest.raises(ConditionerError, match="at least one"):
        load_conditioner([])
