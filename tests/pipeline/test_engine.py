from pathlib import Path

from pipeline.engine import PACKAGES, _code_for_workers

ROOT = Path(__file__).resolve().parents[2]


def test_a_cluster_gets_the_code_and_neither_runs_nor_the_virtual_environment():
    sent = _code_for_workers()
    assert sent["working_dir"] == str(ROOT)
    left_out = {name.removeprefix("/") for name in sent["excludes"]}
    assert left_out.isdisjoint({*PACKAGES, "configs", "pyproject.toml"})
    assert {".git", "tests", "docs", "examples"} <= left_out
    assert all((ROOT / name).is_dir() for name in PACKAGES)
