import json
import sys
from pathlib import Path

import pytest

from pipeline.config import Recipe, RecipeError
from pipeline.engine import PACKAGES, NoRay, _code_for_workers, ensure_ray
from pipeline.errors import known_errors
from pipeline.user_code import user_modules

ROOT = Path(__file__).resolve().parents[2]


def test_a_cluster_gets_the_code_and_neither_runs_nor_the_virtual_environment():
    sent = _code_for_workers()
    assert sent["working_dir"] == str(ROOT)
    left_out = {name.removeprefix("/") for name in sent["excludes"]}
    assert left_out.isdisjoint({*PACKAGES, "configs", "pyproject.toml"})
    assert {".git", "tests", "docs", "examples"} <= left_out
    assert all((ROOT / name).is_dir() for name in PACKAGES)


def test_a_job_that_was_submitted_with_its_folder_keeps_it(monkeypatch):
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps({"runtime_env": {"working_dir": "gcs://x.zip"}}))
    assert _code_for_workers([Path("/own/stages.py")]) == {"py_modules": ["/own/stages.py"]}


def recipe(*uses, **execution):
    legs = {"fetch": {"stages": [{"use": use} for use in uses]}}
    return Recipe.model_validate({"name": "own", "run": "run", "legs": legs, "execution": execution})


def test_a_stages_own_module_is_sent_and_what_is_installed_is_not(tmp_path, monkeypatch):
    (tmp_path / "own_one_file.py").write_text("class A: ...\n")
    (tmp_path / "own_package" / "inner").mkdir(parents=True)
    (tmp_path / "own_package" / "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    asked = recipe("own_one_file:A", "own_package.inner:B", "own_package:C", "stages.fetch:Fetch", "cut", "pytest:D")
    assert user_modules(asked) == [tmp_path / "own_one_file.py", tmp_path / "own_package"]


def test_further_modules_are_named_and_must_be_there(tmp_path):
    assert user_modules(recipe("fetch", py_modules=[str(tmp_path)])) == [tmp_path]
    with pytest.raises(RecipeError, match=r"neither a folder nor a \.py or \.whl file"):
        user_modules(recipe("fetch", py_modules=[str(tmp_path / "gone.py")]))


def test_a_ray_that_cannot_be_joined_is_told_in_a_sentence():
    with pytest.raises(NoRay, match=r"execution\.ray_address nonsense://head cannot be joined .*ray status") as told:
        ensure_ray("nonsense://head")
    assert isinstance(told.value, known_errors())
