from pathlib import Path

import pytest
import yaml

from captioner.autocap.train_recipe import TrainRecipe
from pipeline.config import RecipeError, load_typed

ROOT = Path(__file__).parents[3]
RECIPES = sorted((ROOT / "configs").glob("autocap_*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_load_and_every_key_has_a_comment(path):
    load_typed(path, [], TrainRecipe)
    lines = [line.strip() for line in path.read_text().splitlines()]
    bare = [line for line in lines if line and "#" not in line and not line.endswith(":")]
    assert bare == []


def test_stages_differ_where_the_paper_says_so():
    one, two = (load_typed(ROOT / f"configs/autocap_stage{n}.yaml", [], TrainRecipe) for n in (1, 2))
    assert (one.optimizer.peak_rate, two.optimizer.peak_rate) == (1e-4, 1e-5)
    assert "decoder.*" in one.freeze.frozen
    assert "decoder.model.shared.weight" in two.freeze.frozen
    assert one.augment == two.augment


def test_all_mistakes_are_told_together(tmp_path):
    tree = yaml.safe_load((ROOT / "configs/autocap_tiny.yaml").read_text())
    tree["optimizer"]["peak_rat"] = 1
    tree["augment"]["drop_path"] = 1.5
    tree["optimizer"]["warmup_epochs"] = 99
    tree["start"]["small"]["width"] = 100
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(tree))
    with pytest.raises(RecipeError) as caught:
        load_typed(path, ["data.shards=/x", "seed=many", "nonsense"], TrainRecipe)
    told = str(caught.value)
    for key in ("optimizer.peak_rat", "augment.drop_path", "start.small.width", "seed", "--set nonsense"):
        assert key in told
    assert str(path) in told


def test_mixtures_need_a_scorer(recipe):
    with pytest.raises(ValueError, match=r"clap\.model"):
        recipe(clap={"model": None})
    assert recipe(clap={"model": None}, augment={"mix": 0}).clap.model is None


def test_a_warm_up_longer_than_the_training_is_refused(recipe):
    with pytest.raises(ValueError, match="warmup_epochs"):
        recipe(optimizer={"warmup_epochs": 3})


def test_one_place_needs_no_list(recipe):
    assert recipe(data={"shards": "/x"}).data.shards == ["/x"]
