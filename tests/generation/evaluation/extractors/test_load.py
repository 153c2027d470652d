"""Names of extractors: known, unknown, one's own; what is wrong is told in a sentence."""

import hashlib

import numpy as np
import pytest
import torch

from generation.errors import GenerationError
from generation.evaluation.extractors.load import WEIGHTS_OF, load_extractor


def test_published_ones_load_from_a_file_and_name_its_hash(tmp_path):
    from tests import published_weights

    path = tmp_path / "vggish=it.pth"
    torch.save(published_weights.vggish(), path)
    ears = load_extractor(f"vggish={path}")
    assert (ears.name, ears.sample_rate_hz, ears.window_s, ears.dim) == ("vggish", 16_000, 0.96, 128)
    assert ears.weights_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", WEIGHTS_OF)
def test_those_that_need_weights_say_which(name):
    with pytest.raises(GenerationError, match=f"{name} needs weights: {name}=FILE with"):
        load_extractor(name)


def test_a_name_that_nobody_knows_is_refused():
    with pytest.raises(GenerationError, match="no extractor 'pann'; give one of embedded, vggish=WEIGHTS, panns="):
        load_extractor("pann=x.pth")
    with pytest.raises(GenerationError, match="embedded brings its weights along"):
        load_extractor("embedded=x")


def test_a_file_that_would_run_code_or_is_none_is_refused(tmp_path):
    path = tmp_path / "x.pth"
    with pytest.raises(GenerationError, match=r"'panns=.*x\.pth' cannot be loaded on cpu: there is no file"):
        load_extractor(f"panns={path}")
    torch.save({"model": Ears("", "cpu")}, path)
    with pytest.raises(GenerationError, match="is refused"):
        load_extractor(f"panns={path}")
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(GenerationError, match="cannot be loaded"):
        load_extractor(f"passt={path}")


class Ears:
    """A user's own."""

    name, weights_sha256, sample_rate_hz, window_s, dim = "mine", "0" * 64, 8000, None, 1

    def __init__(self, weights, device):
        self.weights = weights

    def embed(self, waves):
        return np.zeros((len(waves), 1), np.float32), None


def test_ones_own_class_is_made_with_its_weights(tmp_path, monkeypatch):
    (tmp_path / "my_ears.py").write_text(
        "class Mine:\n"
        "    name, weights_sha256, sample_rate_hz, window_s, dim = 'mine', '0', 8000, None, 1\n"
        "    def __init__(self, weights, device): self.told = weights, device\n"
        "    def embed(self, waves): ...\n"
        "class Half:\n"
        "    name = 'half'\n"
        "    def __init__(self, weights, device): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert load_extractor("my_ears:Mine=a=b").told == ("a=b", "cpu")
    with pytest.raises(GenerationError, match="my_ears:Half makes no extractor: it lacks weights_sha256"):
        load_extractor("my_ears:Half")
    with pytest.raises(GenerationError, match="'my_ears:None_such' cannot be loaded"):
        load_extractor("my_ears:None_such")
    with pytest.raises(GenerationError, match="No module named 'no_ears'"):
        load_extractor("no_ears:Mine")
