import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from pipeline.cli import main

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config(tmp_path):
    """A denoiser of a few thousand numbers, on eight tones."""
    from tests.small_shards import KINDS, sample, tone, write_shard

    kinds = list(KINDS.items())
    clips = [sample(f"{n:04d}", kinds[n % 3][0], tone(kinds[n % 3][1], seed=n)) for n in range(8)]
    write_shard(tmp_path / "shards/00000.tar", clips)
    tree = yaml.safe_load((ROOT / "configs/genau_tiny.yaml").read_text())
    tree["net"] |= {"patch_width": 32, "latent_width": 32, "latents": 16, "blocks": 1, "context_width": 32}
    tree["data"]["kind"] = "waves"
    tree["data"]["corpora"] = [{"shards": [str(tmp_path / "shards")]}]
    tree["validation"] |= {"corpora": [], "prompts": []}
    tree["batch_clips"] = 2
    tree["loop"]["steps"] = 3
    tree["keep"] |= {"every_steps": 2, "tensorboard": False}
    return written(tmp_path / "recipe.yaml", tree)


def written(path, tree):
    path.write_text(yaml.safe_dump(tree))
    return path


def autorecap(*words):
    return CliRunner().invoke(main, ["genau", "train", *map(str, words)])


def test_a_training_from_the_command_line_gives_a_model_folder(tmp_path, config):
    from genau.card import GenauCard, read_folder

    out = tmp_path / "out"
    done = autorecap(config, "--out", out)
    assert done.exit_code == 0, done.output
    assert f"--model {out / 'model'}" in done.output
    card, state = read_folder(out / "model", GenauCard)
    assert (card.model_id, card.step, card.shape.patch_width) == ("genau_tiny", 3, 32)
    assert state.keys() == read_folder(out / "checkpoints/step-00000003", GenauCard)[1].keys()
    # The folder is taken; going on finds nothing left to do; another recipe has no place in it.
    refused = autorecap(config, "--out", out)
    assert refused.exit_code == 2
    assert "--resume" in refused.output
    assert autorecap(config, "--out", out, "--resume").exit_code == 0
    other = autorecap(config, "--out", out, "--resume", "--set", "schedule.peak_rate=0.5")
    assert other.exit_code == 2
    assert "schedule.peak_rate: there 0.002, asked 0.5" in other.output


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("data.corpora=[{shards: [/nowhere]}]", "nothing at /nowhere"),
        ("loop.steps=0", "loop.steps"),
        ("text.encoders=[/nowhere]", "/nowhere"),
        ("vae=/nowhere", "/nowhere"),
        ("start={checkpoint: /nowhere.ckpt}", "/nowhere.ckpt"),
        ("loop.parallel=fsdp", "fsdp needs workers"),
    ],
)
def test_a_fault_is_one_message_and_nothing_is_trained(tmp_path, config, override, told):
    done = autorecap(config, "--out", tmp_path / "out", "--set", override)
    assert done.exit_code == 2, done.output
    assert told in done.output
    assert not (tmp_path / "out/checkpoints").exists()


def test_a_recipe_with_losses_is_the_vae_s(config):
    from genau.recipe import FitRecipe, VaeRecipe
    from pipeline.genau_train import read_recipe

    assert isinstance(read_recipe(str(config), []), FitRecipe)
    assert isinstance(read_recipe(str(ROOT / "configs/vae.yaml"), ["keep.last=1"]), VaeRecipe)


@pytest.mark.slow
def test_two_workers_of_ray_train_one_model(tmp_path, config):
    """Gloo on this machine, each worker with half of every tensor."""
    out = tmp_path / "out"
    workers = ("--set", "execution.workers=2", "--set", "loop.parallel=fsdp")
    done = autorecap(config, "--out", out, *workers)
    assert done.exit_code == 0, done.output
    assert "3 steps done" in done.output
    lines = [json.loads(line) for line in (out / "losses.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert {line["clips"] for line in lines} == {4}  # two clips of each worker
    loop = json.loads((out / "checkpoints/step-00000003/loop.json").read_text())
    assert len(loop["places"]) == 2
    assert (out / "model/model.safetensors").is_file()
