import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from pipeline.autocap_train import PATH_KEYS
from pipeline.cli import main
from pipeline.ray_training import at_home_everywhere, following

ROOT = Path(__file__).parents[2]


@pytest.fixture
def shards(tmp_path):
    """Two shards of four clips each."""
    from tests.small_shards import KINDS, sample, tone, write_shard

    kinds = list(KINDS.items())
    for shard in range(2):
        numbers = range(4 * shard, 4 * shard + 4)
        clips = [sample(f"{n:04d}", kinds[n % 3][0], tone(kinds[n % 3][1], seed=n)) for n in numbers]
        write_shard(tmp_path / f"shards/{shard:05d}.tar", clips)
    return tmp_path / "shards"


@pytest.fixture
def config(tmp_path, shards):
    tree = yaml.safe_load((ROOT / "configs/autocap_tiny.yaml").read_text())
    tree["start"]["small"] |= {"tower_width": 8, "queries": 8, "query_width": 32, "width": 64, "layers": 1}
    tree["data"]["shards"] = [str(shards)]
    tree["validation"]["shards"] = []
    tree["optimizer"] |= {"epochs": 1.0, "warmup_epochs": 0.2, "batch_clips": 2}
    tree["keep"] |= {"every_steps": 1, "tensorboard": False}
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def autorecap(*words):
    return CliRunner().invoke(main, ["autocap", "train", *map(str, words)])


def test_a_training_from_the_command_line_gives_a_captioner(tmp_path, config):
    from captioner.load import load_captioner
    from tests.small_shards import tone

    out = tmp_path / "out"
    done = autorecap(config, "--out", out)
    assert done.exit_code == 0, done.output
    assert str(out / "model") in done.output
    captioner = load_captioner(str(out / "model"))
    assert captioner.model_id == "autocap_tiny"
    import numpy as np

    vector = np.ones((1, captioner.net.shape.clap_dim), dtype=np.float32)
    (said,) = captioner.caption([tone(300.0)], clap_embeddings=vector)
    assert isinstance(said.text, str)
    # The folder is taken; going on finds nothing left to do.
    refused = autorecap(config, "--out", out)
    assert refused.exit_code == 2
    assert "--resume" in refused.output
    assert autorecap(config, "--out", out, "--resume").exit_code == 0
    other = autorecap(config, "--out", out, "--resume", "--set", "optimizer.peak_rate=0.5")
    assert other.exit_code == 2
    assert "optimizer.peak_rate: there 0.001, asked 0.5" in other.output


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("data.shards=/nowhere", "nothing at /nowhere"),
        ("optimizer.epochs=0", "optimizer.epochs"),
        ("start={checkpoint: /nowhere.ckpt}", "/nowhere.ckpt"),
        ("start={htsat: /nowhere.ckpt, bart: /nowhere}", "no BART under '/nowhere'"),
        ("start={bart: /nowhere}", "name a checkpoint"),
        ("clap.model=/nowhere.pt", "clap.model"),
        ("freeze.frozen=[nothing.*]", "no parameter is called 'nothing.*'"),
    ],
)
def test_a_fault_is_one_message_and_nothing_is_trained(tmp_path, config, override, told):
    done = autorecap(config, "--out", tmp_path / "out", "--set", override)
    assert done.exit_code == 2, done.output
    assert told in done.output
    assert not (tmp_path / "out/checkpoints").exists()


def test_a_signal_leaves_a_checkpoint_and_the_shell_s_exit_code(tmp_path, config):
    out = tmp_path / "out"

    def stop():
        while not (out / "losses.jsonl").exists() or not (out / "losses.jsonl").stat().st_size:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    stopped = autorecap(config, "--out", out, "--set", "optimizer.epochs=50")
    thread.join()
    assert stopped.exit_code == 143, stopped.output
    assert "--resume" in stopped.output
    assert list((out / "checkpoints").iterdir())
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


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


@pytest.mark.slow
def test_two_workers_of_ray_train_one_model(tmp_path, config):
    """Gloo on this machine: both ranks' clips in each step, and one curve."""
    out = tmp_path / "out"
    done = autorecap(config, "--out", out, "--set", "execution.workers=2", "--set", "optimizer.epochs=2")
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in (out / "losses.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert {line["clips"] for line in lines} == {4}  # two clips of each worker
    loop = json.loads((out / "checkpoints/step-00000004/loop.json").read_text())
    assert len(loop["places"]) == 2
    assert (out / "model/model.safetensors").is_file()
