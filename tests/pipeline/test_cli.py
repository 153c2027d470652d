"""What a user sees of mistakes: one clear message, exit code 2, no traceback, nothing written."""

import json
import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from pipeline.cli import main

ROOT = Path(__file__).resolve().parents[2]


def autorecap(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


def recipe(folder, **changes):
    tree = yaml.safe_load((ROOT / "configs" / "local_folder.yaml").read_text())
    tree.update({"run": str(folder / "run"), **changes})
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def refused(result):
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    return result.output


def test_an_empty_source_list_is_refused(tmp_path):
    (tmp_path / "none.txt").write_text("# nothing but a comment\n\n")
    config = recipe(tmp_path, sources=[{"type": "urls", "path": str(tmp_path / "none.txt")}])
    assert "none.txt" in refused(autorecap("plan", config))
    assert "the recipe lists none" in refused(autorecap("plan", recipe(tmp_path, sources=[])))


def test_a_source_list_that_is_not_there(tmp_path):
    config = recipe(tmp_path, sources=[{"type": "urls", "path": str(tmp_path / "missing.csv")}])
    assert "missing.csv" in refused(autorecap("plan", config))


def test_a_recipe_that_is_not_there(tmp_path):
    assert "cannot be read" in refused(autorecap("plan", tmp_path / "nothing.yaml"))


def test_a_leg_that_the_recipe_has_not(tmp_path):
    said = refused(autorecap("run", recipe(tmp_path), "--leg", "score"))
    assert "no leg is called 'score'" in said
    assert "fetch, models" in said


def test_a_share_of_a_run_that_is_none(tmp_path):
    result = autorecap("run", recipe(tmp_path), "--partition", "3/2")
    assert refused(result)
    assert "write i/n with i from 1 to n" in result.output


def test_json_of_a_plan_that_is_made_is_refused_instead_of_passed_over(tmp_path):
    assert "--json goes with --dry-run" in refused(autorecap("plan", recipe(tmp_path), "--json"))


def test_a_run_before_its_plan(tmp_path):
    assert "autorecap plan" in refused(autorecap("run", recipe(tmp_path), "--leg", "fetch"))


@pytest.mark.parametrize("verb", ["status", "select", "verify"])
def test_a_folder_that_is_no_run(tmp_path, verb):
    (tmp_path / "notes.txt").write_text("hello")
    result = autorecap(verb, tmp_path, *(["--preset", "MQ"] if verb == "select" else []))
    assert result.exit_code in (1, 2)
    assert "Traceback" not in result.output
    assert re.search(r"run\.json|manifest", result.output)


def test_a_view_and_a_split_that_make_no_sense(small_corpus, tmp_path):
    store = small_corpus().make(tmp_path / "run")
    assert "nonsense" in refused(autorecap("select", store.root, "--where", "nonsense > 3"))
    assert "BEST" in refused(autorecap("select", store.root, "--preset", "BEST"))
    assert autorecap("select", store.root, "--name", "all").exit_code == 0
    out = tmp_path / "shards"
    assert "90/5/5" in refused(autorecap("export", store.root, "--view", "all", "--out", out, "--split", "most/rest"))
    assert "mq" in refused(autorecap("export", store.root, "--view", "mq", "--out", out))
    assert not out.exists()


def test_status_of_a_run_says_what_select_and_export_made(small_corpus, tmp_path):
    store = small_corpus().make(tmp_path / "run")
    autorecap("select", store.root, "--name", "all")
    out = f"{store.root}/shards/all"
    said = autorecap("export", store.root, "--view", "all", "--out", out, "--workers", 0, "--shard-clips", 10)
    assert said.exit_code == 0, said.output
    assert "autorecap verify" in said.output
    status = json.loads(autorecap("status", store.root, "--json").output)
    assert status["planned"] == 36
    assert status["ok"] + status["filtered"] + status["merged"] + status["failed"] == 36
    assert status["views"]["all"]["clips"] == status["exports"]["shards/all"]["clips"] > 0
    text = autorecap("status", store.root).output
    assert "yield" in text
    assert "export shards/all" in text
    assert autorecap("verify", out, "--decode").exit_code == 0
    assert autorecap("verify", store.root, "--decode").exit_code == 0
