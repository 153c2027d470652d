"""What a run came to, from the logs of its starts."""

import json

import yaml
from click.testing import CliRunner

from benchmarks.synthetic import write_plan
from corpus.store import Store
from pipeline.cli import main
from pipeline.config import Recipe
from pipeline.estimate.truth import ESTIMATE_PATH, pool_stages, read_truth, truth_lines
from pipeline.todo import Partition

LEGS = {
    "fetch": {"stages": [{"use": "fetch"}, {"use": "cut"}]},
    "models": {"after": "fetch", "stages": [{"use": "load_audio"}, {"use": "embed"}]},
}


def recipe(**execution):
    pools = {"models": {"workers": 2}}
    return Recipe.model_validate({"name": "x", "run": "x", "legs": LEGS, "execution": {"pools": pools, **execution}})


def line(leg, clips, stages, error=None, **more):
    told = [{"stage": name, "seconds": seconds} for name, seconds in stages.items()]
    return json.dumps({"leg": leg, "clips": clips, "error": error, "stages": told, **more})


def logged(tmp_path):
    store = Store(str(tmp_path))
    fetched = {"counts": {"autorecap_fetched_bytes_total": 1_000_000.0}, "commit_bytes": 500_000}
    first = [line("fetch", 8, {"fetch": 2.0, "cut": 1.0}, **fetched), line("models", 8, {"embed": 4.0}), '{"leg": "mod']
    second = [line("models", 8, {"embed": 9.0}, error="it broke"), line("models", 4, {"load_audio": 7.0, "embed": 3.0})]
    for name, lines, asked in (("1-run", first, 30), ("2-run", second, 12)):
        store.replace(f"logs/{name}/units.jsonl", "\n".join(lines).encode())
        store.replace(f"logs/{name}/sites.json", json.dumps({"sites": {"a": {"requests": asked}}}).encode())
    model = {"leg": "models", "clips": 12, "clips_per_s": 2.0, "told": "probed", "hours": 12 / 2 / 3600}
    told = {"bytes": 2_000_000, "disk_bytes": 600_000, "requests": 40, "models": [model]}
    store.replace(ESTIMATE_PATH, json.dumps(told).encode())
    return store


def test_every_start_counts_and_broken_lines_do_not(tmp_path):
    truth = read_truth(logged(tmp_path))
    assert (truth.requests, truth.fetched_bytes, truth.committed_bytes) == (42, 1_000_000, 500_000)
    assert truth.clips == {"fetch": 8, "models": 12}
    assert truth.busy_s["models", "embed"] == 16.0


def test_both_stand_side_by_side(tmp_path):
    assert pool_stages(recipe(), "models") == {"embed": 2}
    table = "\n".join(truth_lines(logged(tmp_path), recipe()))
    for name, was, came in (("requests", "40", "42"), ("fetched", "2 MB", "1 MB"), ("on disk", "600 kB", "500 kB")):
        (row,) = [row for row in table.splitlines() if name in row]
        assert row.split(name)[1].split("   ")[-1].strip() == came
        assert was in row
    assert "1.5 clips/s" in table


def test_requests_of_a_shared_cluster_are_not_ours(tmp_path):
    assert "requests" not in "\n".join(truth_lines(logged(tmp_path), recipe(ray_address="auto")))


def test_a_size_that_was_not_known_is_no_zero(tmp_path):
    store = logged(tmp_path)
    told = json.loads(store.read(ESTIMATE_PATH))
    store.replace(ESTIMATE_PATH, json.dumps({**told, "bytes": 0, "size_unknown": True}).encode())
    (row,) = [row for row in truth_lines(store, recipe()) if "fetched" in row]
    assert row.split() == ["fetched", "not", "known", "1", "MB"]


def test_without_an_estimate_nothing_is_told(tmp_path):
    assert truth_lines(Store(str(tmp_path)), recipe()) == []


def test_a_share_that_is_done_while_others_are_not_tells_no_truth_of_the_whole(tmp_path):
    store = Store(str(tmp_path / "run"))
    write_plan(store, 1, 2)
    store.replace(ESTIMATE_PATH, logged(tmp_path / "other").read(ESTIMATE_PATH))
    config = tmp_path / "recipe.yaml"
    config.write_text(yaml.safe_dump({"name": "x", "run": store.root, "legs": {"fetch": LEGS["fetch"]}}))
    (empty,) = [text for text in ("1/2", "2/2") if not Partition.parse(text).has("00000-00000")]
    result = CliRunner().invoke(main, ["run", str(config), "--partition", empty], catch_exceptions=False)
    assert result.exit_code == 0
    assert "clips planned" in result.stdout
    assert "estimate and truth" not in result.stdout
