"""The house itself: names resolve inside the repository, and the command line starts fast and light."""

import importlib.util
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    "name", ["audio", "corpus", "scorer", "training", "generation", "captioner", "genau", "stages", "pipeline"]
)
def test_each_package_resolves_inside_the_repository(name):
    spec = importlib.util.find_spec(name)
    assert Path(spec.origin).parent == ROOT / name


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from click.testing import CliRunner; from pipeline.cli import main; "
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0; "
        "heavy = ('torch', 'ray', 'pyarrow', 'pandas', 'numpy', 'transformers', 'yt_dlp', 'pydantic'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    started = time.monotonic()
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]", out.stdout
    assert time.monotonic() - started < 10  # half a second on an idle machine; tests never time for real


@pytest.mark.parametrize("verb", "plan run status select export verify score search report caption".split())
def test_every_verb_teaches(verb):
    out = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", verb, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Usage:" in out.stdout
    assert len(out.stdout.splitlines()) >= 6


def test_nothing_names_a_package_registry():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    hosts = ("pypi" + ".org", "pythonhosted" + ".org", "download.pytorch" + ".org", "registry.npmjs" + ".org")
    named = []
    for line in listed.stdout.splitlines():
        path = ROOT / line
        if path.suffix in {".py", ".md", ".yaml", ".toml", ".txt", ".yml", ""} and path.is_file():
            text = path.read_text(encoding="utf-8", errors="ignore")
            named += [line for host in hosts if host in text]
    assert named == []
