"""docs/security.md and the tests it names; and what no file here does with what it reads."""

from __future__ import annotations

import ast
import json
import re
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("audio", "corpus", "scorer", "training", "generation", "captioner", "genau", "stages", "pipeline")


def promises() -> list[str]:
    """The rows of the table."""
    lines = (ROOT / "docs" / "security.md").read_text(encoding="utf-8").splitlines()
    table = [line for line in lines if line.startswith("| ")]
    return table[1:]


def test_every_promise_has_its_tests_and_they_exist():
    rows = promises()
    assert len(rows) > 20
    named = [re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row.split("|")[3]) for row in rows]
    assert all(named), [row for row, tests in zip(rows, named, strict=True) if not tests]
    functions: dict[str, set[str]] = {}
    for file, test in (pair for tests in named for pair in tests):
        if file not in functions:
            tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
            functions[file] = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert test in functions[file], f"{file} has no {test}"


#: What would run, or unpack, what was read. `numpy.load` refuses pickles unless told.
NEVER = {
    *("eval", "exec", "os.system", "os.popen", "pickle.load", "pickle.loads", "marshal.loads", "joblib.load"),
    *("yaml.load", "yaml.unsafe_load", "yaml.full_load", "shutil.unpack_archive", "pandas.read_pickle"),
}
#: A trainer's own teacher, from a package that its user has installed; zipfile keeps members inside the folder.
UNPACKS = {"scorer/teachers.py"}


def test_nothing_here_runs_what_it_reads():
    found = []
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                options = {item.arg: ast.unparse(item.value) for item in node.keywords}
                bad = called in NEVER or options.get("shell") == "True" or options.get("allow_pickle") == "True"
                bad |= options.get("trust_remote_code", "False") != "False"
                bad |= called == "torch.load" and options.get("weights_only") != "True"
                bad |= called.endswith(".extractall") and name not in UNPACKS
                found += [f"{name}:{node.lineno}: {called}"] if bad else []
    assert found == []


def test_a_recipe_that_would_run_code_is_refused(tmp_path: Path):
    from pipeline.config import RecipeError, load_recipe

    mark = tmp_path / "mark"
    (tmp_path / "evil.yaml").write_text(f"name: !!python/object/apply:os.system ['touch {mark}']\n")
    with pytest.raises(RecipeError, match="is not YAML"):
        load_recipe(tmp_path / "evil.yaml")
    with pytest.raises(RecipeError, match="not YAML"):
        load_recipe(ROOT / "configs" / "demo.yaml", [f"name=!!python/object/apply:os.system ['touch {mark}']"])
    assert not mark.exists()


def test_hostile_titles_name_nothing_in_a_shard(small_corpus, tmp_path: Path):
    from pipeline.export import export
    from pipeline.select import select

    title = "../../x\x1b[31m\u202e/etc/passwd `id` $(id) {n}" + "y" * 500
    store = small_corpus(clip_ms=100, sources=2, titles=title).make(tmp_path / "run")
    select(store.root, "all")
    export(store.root, "all", str(tmp_path / "out"), workers=0)
    read = 0
    for shard in (tmp_path / "out").rglob("*.tar"):
        with tarfile.open(shard) as members:
            for member in members:
                assert member.isfile()
                assert re.fullmatch(r"[A-Za-z0-9_-]{1,200}\.[a-z0-9]{1,8}", member.name)
                if member.name.endswith(".json"):
                    read += bool(json.load(members.extractfile(member)))
    assert read
    assert all(re.fullmatch(r"[\w.-]+", path.name) for path in (tmp_path / "out").rglob("*"))
