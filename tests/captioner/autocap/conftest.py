"""Small shards, and a training recipe for them."""

import pytest

from captioner.autocap.train_recipe import TrainRecipe
from tests.small_shards import small_shards


@pytest.fixture(scope="session")
def shards(tmp_path_factory):
    return small_shards(tmp_path_factory.mktemp("shards"))


@pytest.fixture
def recipe(shards):
    """recipe(**changes): sections are merged into a small run of a few steps on the CPU."""

    def make(**changes):
        tree = {
            "name": "trial",
            "start": {"small": {"tower_width": 8, "queries": 8, "query_width": 32, "width": 64, "layers": 1,
                                "vocabulary": 300}},
            "data": {"shards": [str(shards)], "loader_workers": 0, "shuffle_clips": 16},
            "clap": {"model": "embedded"},
            "optimizer": {"peak_rate": 2e-3, "epochs": 0.5, "warmup_epochs": 0.1, "batch_clips": 2},
            "keep": {"every_steps": 2, "log_every_steps": 2, "tensorboard": False},
            "execution": {"device": "cpu", "threads": 1},
        }  # fmt: skip
        for section, values in changes.items():
            tree[section] = {**tree.get(section, {}), **values} if isinstance(values, dict) else values
        return TrainRecipe.model_validate(tree)

    return make
