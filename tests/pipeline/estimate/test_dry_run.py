"""A dry run asks a sample of real pages and writes nothing."""

import json
from pathlib import Path

import yaml
from click.testing import CliRunner

from pipeline.cli import main


def recipe(folder, site, plugin_dir, pages):
    tree = {
        "name": "dry",
        "run": str(folder / "run"),
        "sources": [{"type": "urls", "items": pages}],
        "plan": {"unit_clips": 4},
        "ytdlp": {"plugin_dirs": [plugin_dir], "requests_per_s": 100, "allow_private_addresses": ["127.0.0.1/32"]},
        "legs": {"fetch": {"stages": [{"use": "fetch"}, {"use": "cut"}]}},
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def test_a_sample_is_asked_and_all_are_told(tmp_path, site, plugin_dir):
    said = "WEBVTT\n\n00:00.000 --> 00:10.000\nwords\n"
    pages = [site.watch(f"v{at:02d}", duration=30.0, captions=said) for at in range(12)]
    config = recipe(tmp_path, site, plugin_dir, [*pages, pages[0]])
    arguments = ["plan", str(config), "--dry-run", "--sample", "3"]
    told = json.loads(CliRunner().invoke(main, [*arguments, "--json"], catch_exceptions=False).stdout)
    assert (told["sampled"], told["sources"], told["clips"]) == (3, 12, 24)
    assert told["audio_s"] == 240
    assert [(s["site"], s["requests"], s["plan_requests"]) for s in told["sites"]] == [("127.0.0.1", 12, 24)]
    assert sum(path.startswith("/watch/") for path in site.asked) == 3
    assert not Path(tmp_path / "run").exists()
    lines = CliRunner().invoke(main, arguments, catch_exceptions=False).stdout
    assert "1 duplicate entries" in lines
    assert "estimate from a sample of 3 sources: 12 sources (12 planned), 24 clips" in lines


def test_a_rate_that_is_none_is_refused(tmp_path, site, plugin_dir):
    config = recipe(tmp_path, site, plugin_dir, ["dQw4w9WgXcQ"])
    for text in ("models=473", "fetch=fast", "fetch=-1", "fetch"):
        result = CliRunner().invoke(main, ["plan", str(config), "--dry-run", "--rate", text])
        assert result.exit_code == 2
        assert "write LEG=CLIPS_PER_S" in result.output
