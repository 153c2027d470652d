"""Probing a model leg: real stages over made-up sound; nothing of the run is touched."""

import pytest

from pipeline.config import Recipe
from pipeline.estimate.probe import full_rate, model_legs, probe_leg, unit_sizes

HERE = "tests.pipeline.trial_stages"


def recipe(run, *stages, **pool):
    models = {"after": "fetch", "stages": [{"use": "load_audio"}, *stages]}
    legs = {"fetch": {"stages": [{"use": "fetch"}, {"use": "cut"}]}, "models": models}
    return Recipe.model_validate({"name": "x", "run": str(run), "legs": legs, "execution": {"pools": {"models": pool}}})


def test_the_embedded_models_are_timed(tmp_path):
    asked = recipe(tmp_path / "run", {"use": "embed"})
    assert model_legs(asked) == ["models"]
    rate = probe_leg(asked, "models", clip_ms=1000, clips=10)
    assert rate.clips_per_s > 0
    assert "10 clips" in rate.told
    assert not (tmp_path / "run").exists()


def test_models_that_are_not_here_cost_no_plan(tmp_path):
    rate = probe_leg(
        recipe(tmp_path, {"use": "embed", "model": str(tmp_path / "none")}), "models", clip_ms=1000, clips=4
    )
    assert rate.clips_per_s is None
    assert rate.told.startswith("not probed: ")
    assert "none" in rate.told


def test_units_grow_to_full_batches():
    assert unit_sizes(200) == [8, 16, 32, 64, 80]
    assert sum(unit_sizes(10_000)) == 10_000
    assert max(unit_sizes(10_000)) == 128


def test_small_units_do_not_count():
    assert full_rate([(8, 8.0), (64, 8.0), (128, 12.0)]) == pytest.approx(192 / 20)
