import numpy as np
import pytest

from audio.resample import resample
from captioner.autocap.train_clap import ClapTokens
from captioner.autocap.train_data import Clip
from captioner.load import Metadata
from scorer.load import load_scorer, model_name
from tests.small_shards import RATE_HZ, tone
from training.errors import TrainError


@pytest.fixture(scope="module")
def scorer():
    return load_scorer("embedded")


def clip(hertz, sha=None, model="", vector=None):
    return Clip("k", tone(hertz), ("hm",), Metadata(), sha, model, vector)


def heard(scorer, one):
    return scorer.embed_audio([resample(one.wave, RATE_HZ, scorer.sample_rate_hz)])[0]


def test_vectors_come_from_the_shard_the_cache_or_the_scorer(scorer, tmp_path):
    width = scorer.embedding_dim
    carried = np.eye(width, dtype=np.float32)[0]
    of_this, of_another = clip(300.0, "a", model_name(scorer), carried), clip(300.0, "b", "other@1", carried)
    window = clip(900.0, None, model_name(scorer), carried)
    tokens = ClapTokens(scorer, width, RATE_HZ, tmp_path)
    vectors = tokens([of_this, of_another, window])
    assert (vectors[0] == carried).all()
    assert (vectors[1] == heard(scorer, of_another)).all()
    assert (vectors[2] == heard(scorer, window)).all()
    # Only what has a hash is kept, and a new process finds it: another wave under the hash shows it was not heard anew.
    again = ClapTokens(scorer, width, RATE_HZ, tmp_path)([clip(5000.0, "b"), clip(5000.0, "c")])
    assert (again[0] == vectors[1]).all()
    assert not np.allclose(again[1], vectors[1], atol=0.01)


def test_without_a_scorer_the_shard_must_carry_them():
    carried = np.array([0.6, 0.8], dtype=np.float32)
    tokens = ClapTokens(None, 2, RATE_HZ, None)
    assert (tokens([clip(300.0, "a", "any@0", carried)])[0] == carried).all()
    assert (tokens([clip(300.0, None, "any@0", carried)])[0] == carried).all()  # a window of a long clip
    with pytest.raises(TrainError, match="clap_audio_embedding"):
        tokens([clip(300.0, "a")])


def test_a_scorer_of_another_width_is_refused(scorer):
    with pytest.raises(TrainError, match="512"):
        ClapTokens(scorer, 512, RATE_HZ, None)
