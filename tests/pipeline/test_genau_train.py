import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from pipeline.cli import main
from tests import small_recipes
from tests.full_disk import SmallDisk
from tests.small_lesson import curve
from tests.sound_shards import members, write_corpus, write_tar
from training.checkpoint import damage

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config(tmp_path):
    return small_recipes.genau(tmp_path)


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


def test_what_is_bad_in_the_shards_is_passed_over_and_told(tmp_path, config):
    """A shard that ends in the middle, members without their pair, silence, a caption of 5,000 characters."""
    write_corpus(tmp_path / "shards", prefix="t", shards=2)
    cut = tmp_path / "shards/00001.tar"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 3])
    odd = [members("zeros", wave=np.zeros(8000, np.float32)), members("words", "w" * 5000), members("good")]
    odd += [[("bare.json", b'{"text": "a tone"}')], [("alone.flac", b"fLaC")]]
    write_tar(tmp_path / "shards/00002.tar", odd)
    (tmp_path / "shards/sizes.json").write_text('{"00000.tar": 8, "00001.tar": 8, "00002.tar": 4}')
    out = tmp_path / "out"
    done = autorecap(config, "--out", out, "--set", "loop.steps=12")
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in (out / "losses.jsonl").read_text().splitlines()]
    told = {line["note"] for line in lines if "note" in line}
    reasons = ("lost_in_damaged_shard", "silent", "caption_too_long", "no_sound", "member_without_record")
    assert told == {f"skipped {reason}" for reason in reasons}
    assert all(np.isfinite(line["loss"]) and line["clips"] == 2 for line in curve(out))


def test_a_full_disk_is_told_and_the_training_goes_on_after_room_is_made(tmp_path, config):
    whole, steps = tmp_path / "whole", ("--set", "loop.steps=6")
    assert autorecap(config, "--out", whole, *steps).exit_code == 0
    checkpoint_kb = sum(file.stat().st_size for file in (whole / "checkpoints/step-00000006").iterdir()) // 1024
    disk = SmallDisk(tmp_path / "disk", 3 * checkpoint_kb // 2)  # room for one and a half
    out = disk.path / "out"
    try:
        stopped = autorecap(config, "--out", out, *steps)
        assert stopped.exit_code == 2, stopped.output
        assert "step 4 could not be written" in stopped.output
        assert "make room and go on with --resume" in stopped.output
        assert [path.name for path in (out / "checkpoints").iterdir()] == ["step-00000002"]
        assert damage(out / "checkpoints/step-00000002") is None
        disk.grow(8 * checkpoint_kb)
        gone_on = autorecap(config, "--out", out, "--resume", *steps)
        assert gone_on.exit_code == 0, gone_on.output
        assert curve(out) == curve(whole)
        for file in ("card.json", "model.safetensors"):
            assert (out / "model" / file).read_bytes() == (whole / "model" / file).read_bytes()
    finally:
        disk.close()


#: Of the small file below, what its tensors cannot tell.
PUBLISHED_YAML = """
model:
  params:
    unet_config:
      params:
        patch_size: [1, 4, 1]
        group_size: [1, 16, 1]
        fit_block_config:
          attention_class: !module src.modules.fit.layers.rin_layers.Attention
          default_attention_config: {heads: 2, dim_head: 16}
    cond_stage_config:
      dataset_ids: {params: {dataset2id: {audiocaps: 0, autocap: 9, unconditional: 0}}}
"""


def published(folder):
    """A file as the reference writes it, with formula weights, for the embedded VAE and text tower."""
    from genau.fit import Fit, FitShape
    from tests.genau_files import genau_state, lightning
    from tests.genau_fill import fill

    shape = FitShape(
        channels=16, patch=4, group=16, patch_width=32, latent_width=32, latents=8, blocks=1, local_layers=1,
        global_layers=1, context_width=32, text_width=384, head_width=16,
    )  # fmt: skip
    weights = {name: fill(name, tuple(value.shape)) for name, value in Fit(shape).state_dict().items()}
    folder.mkdir()
    (folder / "mine.yaml").write_text(PUBLISHED_YAML)
    return lightning(folder / "published.ckpt", genau_state(weights, ema=True))


def test_a_published_checkpoint_is_gone_on_with_on_new_data_and_generates(tmp_path, config):
    from genau.card import GenauCard, read_card

    file, out = published(tmp_path / "from"), tmp_path / "out"
    start = f"start={{checkpoint: {file}, config: {file.with_name('mine.yaml')}}}"
    mine = f"data.corpora=[{{shards: [{tmp_path / 'shards'}], dataset: mine}}]"
    words = [start, mine, "datasets.mine=10", "unconditional_id=0", "loop.steps=2"]
    done = autorecap(config, "--out", out, *(part for word in words for part in ("--set", word)))
    assert done.exit_code == 0, done.output
    card = read_card(out / "model", GenauCard)
    assert (card.shape.head_width, card.shape.patch, card.scale_factor) == (16, 4, 1.25)
    assert (card.datasets, card.unconditional, card.step) == ({"mine": 10}, 0, 2)
    asked = ["--prompt", "rain", "--dataset", "mine", "--steps", "2", "--duration", "1", "--scorer", "none"]
    made = CliRunner().invoke(
        main, ["genau", "generate", "--model", str(out / "model"), "--out", str(tmp_path / "made"), *asked]
    )
    assert made.exit_code == 0, made.output
    assert len(list((tmp_path / "made").glob("*.wav"))) == 1


def test_a_checkpoint_of_another_size_is_told(tmp_path, config):
    from tests.genau_small import model_folder

    done = autorecap(config, "--out", tmp_path / "out", "--set", f"start={{checkpoint: {model_folder(tmp_path)}}}")
    assert done.exit_code == 2
    assert "made for another VAE or other text encoders: channels 8, here 16, steps 32, here 256" in done.output
    assert not (tmp_path / "out/checkpoints").exists()
