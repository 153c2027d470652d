import os
import signal
import threading
import time

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from tests import small_recipes


@pytest.fixture
def config(tmp_path):
    return small_recipes.autocap(tmp_path)


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
