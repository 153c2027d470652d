"""Ray Train with two workers on this machine (gloo), one Ray for the file; what it needs beside."""

import json

import pytest
from click.testing import CliRunner

from pipeline.autocap_train import PATH_KEYS
from pipeline.cli import main
from pipeline.ray_training import at_home_everywhere, following
from tests import small_recipes
from tests.small_lesson import curve


@pytest.fixture(scope="module")
def ray():
    """The verb would start and stop its own each time."""
    import ray

    from pipeline import engine

    engine.ensure_ray(None, 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "stop_ray", lambda: None)
        yield
    ray.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("verb", "options", "steps"),
    [("autocap", ["optimizer.epochs=2"], 4), ("genau", ["loop.parallel=fsdp"], 3)],  # fsdp: half of every tensor each
)
def test_two_workers_train_one_model(tmp_path, ray, verb, options, steps):
    """Both ranks' clips in each step, and one curve."""
    config, out = getattr(small_recipes, verb)(tmp_path), tmp_path / "out"
    words = [part for option in ("execution.workers=2", *options) for part in ("--set", option)]
    done = CliRunner().invoke(main, [verb, "train", str(config), "--out", str(out), *words])
    assert done.exit_code == 0, done.output
    assert f"{steps} steps done" in done.output
    lines = curve(out)
    assert [line["step"] for line in lines] == list(range(1, steps + 1))
    assert {line["clips"] for line in lines} == {4}  # two clips of each worker
    loop = json.loads((out / f"checkpoints/step-{steps:08d}/loop.json").read_text())
    assert len(loop["places"]) == 2
    assert (out / "model/model.safetensors").is_file()


def test_workers_with_folders_of_their_own_get_whole_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs/shards").mkdir(parents=True)
    tree = {"data": {"shards": ["runs/shards", "s3://bucket/x"]}, "name": "runs", "bart": "facebook/bart-base", "n": 1}
    whole = str(tmp_path / "runs/shards")
    assert at_home_everywhere(tree, PATH_KEYS) == {**tree, "data": {"shards": [whole, "s3://bucket/x"]}}
    told = {"encoders": ["t5:runs/shards", "clap:laion/clap"], "cache_dir": "new"}
    keys = ("encoders", "cache_dir")
    assert at_home_everywhere(told, keys) == {
        "encoders": [f"t5:{whole}", "clap:laion/clap"], "cache_dir": str(tmp_path / "new"),
    }  # fmt: skip


def test_what_a_worker_tells_is_shown_while_it_runs(tmp_path, capsys):
    (tmp_path / "train.log").write_text("an earlier run\n")
    with following(tmp_path / "train.log"), (tmp_path / "train.log").open("a") as file:
        file.write("step 1\n")
    assert capsys.readouterr().err == "step 1\n"
